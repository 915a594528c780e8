// SPDX-License-Identifier: MIT OR Apache-2.0
// The panel with measures of the difference between the picture and its input, or a reference.

import { send } from "./api.js";
import { Curve, Histograms } from "./chart.js";
import { clockText, find, h } from "./dom.js";
import { chooseFile } from "./files.js";

/** Measures of the panel: field, name, unit, digits. */
const MEASURES = [
  ["psnr", "PSNR", "dB", 2],
  ["ssim", "SSIM", "", 4],
  ["ms-ssim", "MS-SSIM", "", 4],
  ["gradient-sobel", "Gradients", "", 2],
  ["histogram-earth-movers", "Histogram distance", "", 2],
  ["flicker", "Flicker", "", 2],
];
const CURVES = ["psnr", "ssim"];
const WORST = 3;

export class Quality {
  #on = false;
  #reference = null;
  #points = new Map();
  #now = 0;

  constructor(transport) {
    this.transport = transport;
    this.values = h("dl", { class: "measures" });
    this.curves = CURVES.map(
      (name) =>
        new Curve(`${name} over time`, name === "psnr" ? "dB" : "", (seconds) =>
          this.seek(seconds),
        ),
    );
    this.picked = h(
      "select",
      { "aria-label": "Curve", onchange: () => this.draw() },
      h("option", { value: 0 }, "PSNR over time"),
      h("option", { value: 1 }, "SSIM over time"),
    );
    this.plot = h("div");
    this.worst = h("p", { class: "worst" });
    this.histograms = new Histograms();
    this.against = h("button", { onclick: () => this.chooseReference() }, "the input");
    const toggle = h("input", {
      type: "checkbox",
      class: "toggle",
      id: "quality-on",
      "aria-label": "Measure the quality",
      onchange: () => this.set(toggle.checked),
    });
    this.body = h(
      "div",
      { class: "body", hidden: true },
      h("div", { class: "against" }, "Against ", this.against),
      this.values,
      this.picked,
      this.plot,
      this.worst,
      h(
        "p",
        { class: "legend" },
        h("span", { class: "before" }, "reference"),
        h("span", { class: "after" }, "after"),
      ),
      this.histograms.node,
    );
    find("panels").append(
      h(
        "section",
        { class: "panel", id: "quality" },
        h("header", {}, h("h3", {}, "Quality"), toggle),
        this.body,
      ),
    );
  }

  set(on) {
    this.#on = on;
    this.body.hidden = !on;
    this.forget();
    this.tell();
  }

  /** Tells the server what to measure; also after a new connection. */
  tell() {
    if (this.#on || this.#reference) send("quality", { on: this.#on, reference: this.#reference });
    else send("quality", { on: false });
  }

  async chooseReference() {
    if (this.#reference) this.#reference = null;
    else this.#reference = await chooseFile({ title: "Choose the reference", videos: true });
    this.against.textContent = this.#reference
      ? `${this.#reference.split("/").pop()} (click for the input)`
      : "the input";
    this.forget();
    this.tell();
  }

  /** Forgets the measures, for another video or other settings. */
  forget() {
    this.#points.clear();
    this.draw();
  }

  seek(seconds) {
    send("pause");
    send("seek", { seconds });
  }

  add({ seconds, values, histograms }) {
    this.#now = seconds;
    this.#points.set(seconds, values);
    const text = (value, unit, digits) => {
      if (value === undefined) return "–";
      return value === null ? "equal" : `${value.toFixed(digits)} ${unit}`;
    };
    this.values.replaceChildren(
      ...MEASURES.map(([field, name, unit, digits]) =>
        h("div", {}, h("dt", {}, name), h("dd", {}, text(values[field], unit, digits))),
      ),
    );
    this.histograms.show(histograms);
    this.draw();
  }

  draw() {
    const index = Number(this.picked.value);
    const field = CURVES[index];
    const points = [...this.#points]
      .map(([seconds, values]) => [seconds, values[field]])
      .filter(([, value]) => Number.isFinite(value))
      .sort((a, b) => a[0] - b[0]);
    const curve = this.curves[index];
    if (this.plot.firstChild !== curve.node) this.plot.replaceChildren(curve.node);
    curve.show(points, this.transport.video?.seconds, this.#now);
    const worst = [...points].sort((a, b) => a[1] - b[1]).slice(0, WORST);
    this.worst.replaceChildren(
      ...(points.length > WORST
        ? [
            "Worst: ",
            ...worst.map(([seconds]) =>
              h("button", { class: "link", onclick: () => this.seek(seconds) }, clockText(seconds)),
            ),
          ]
        : []),
    );
  }
}

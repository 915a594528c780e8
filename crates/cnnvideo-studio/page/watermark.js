// SPDX-License-Identifier: MIT OR Apache-2.0
// What the cards of the watermark show beside their settings.

import { Curve } from "./chart.js";
import { clockText, h } from "./dom.js";

export class Watermarks {
  #detectors = new Map();

  constructor(transport) {
    this.transport = transport;
  }

  embedder() {
    const hint =
      "Choose a file with a key below the folders of this studio. cnnvideo watermark key new " +
      "FILE makes one. The payload has 16 hex digits.";
    return { node: h("p", { class: "hint" }, hint), update: () => {} };
  }

  /** Evidence over time, and the payloads found. */
  detector(id) {
    const curve = new Curve("Evidence over time", "digits");
    const result = h("p", { class: "hint" }, "Play the video to collect evidence.");
    const list = h("ul", { class: "payloads" });
    this.#detectors.set(id, { curve, result, list, points: [], found: new Map() });
    return { node: h("div", { class: "evidence" }, result, list, curve.node), update: () => {} };
  }

  /** Takes a message of a detector. */
  message(card, fields) {
    const detector = this.#detectors.get(card);
    if (!detector) return;
    const seconds = fields["stream-time"] < 1e18 ? fields["stream-time"] / 1e9 : 0;
    const evidence = Math.max(0, -fields["log10-p"]);
    detector.points = [
      ...detector.points.filter(([time]) => time !== seconds),
      [seconds, evidence],
    ].sort((a, b) => a[0] - b[0]);
    detector.curve.show(detector.points, this.transport.video?.seconds, seconds);
    if (fields.present && !detector.found.has(fields.payload))
      detector.found.set(fields.payload, seconds);
    detector.result.textContent = fields.present
      ? `Payload ${fields.payload}, probability of chance 1e${Math.round(fields["log10-p"])}, ` +
        `${fields["bit-errors"]} bit errors.`
      : "No watermark of this key in the last frames.";
    detector.list.replaceChildren(
      ...[...detector.found].map(([payload, time]) =>
        h("li", {}, h("code", {}, payload), ` from ${clockText(time)}`),
      ),
    );
  }

  forget() {
    for (const detector of this.#detectors.values()) {
      detector.points = [];
      detector.found.clear();
      detector.list.replaceChildren();
      detector.curve.show([], 0, 0);
    }
  }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// Small charts.

const NS = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const WIDTH = 288;
const HEIGHT = 84;
const TOP = 4;

/** A curve over time that one can click. */
export class Curve {
  #points = [];

  /** @param unit text behind values; @param onpick called with the seconds of a click */
  constructor(label, unit, onpick) {
    this.unit = unit;
    this.line = svg("polyline", { class: "curve" });
    this.mark = svg("line", { class: "cursor", y1: 0, y2: HEIGHT });
    this.low = svg("text", { class: "scale", x: 2, y: HEIGHT - 3 });
    this.high = svg("text", { class: "scale", x: 2, y: 12 });
    this.node = svg(
      "svg",
      { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      this.line,
      this.mark,
      this.low,
      this.high,
    );
    if (onpick) {
      this.node.classList.add("pickable");
      this.node.addEventListener("click", (event) => {
        const { left, width } = this.node.getBoundingClientRect();
        if (this.#points.length) onpick(this.nearest((event.clientX - left) / width));
      });
    }
  }

  /** Shows points [seconds, value], sorted by time, and the time of the shown frame. */
  show(points, total, now) {
    this.#points = points;
    this.total = Math.max(total || 0, points.at(-1)?.[0] ?? 0, 0.1);
    const values = points.map(([, value]) => value);
    const low = Math.min(...values);
    const high = Math.max(...values);
    const x = (seconds) => (seconds / this.total) * WIDTH;
    const y = (value) =>
      HEIGHT - TOP - (high > low ? (value - low) / (high - low) : 0.5) * (HEIGHT - 2 * TOP);
    this.line.setAttribute(
      "points",
      points.map(([seconds, value]) => `${x(seconds).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
    );
    this.mark.setAttribute("x1", x(now));
    this.mark.setAttribute("x2", x(now));
    const text = (value) => (points.length ? `${Number(value.toPrecision(4))} ${this.unit}` : "");
    this.high.textContent = text(high);
    this.low.textContent = high > low ? text(low) : "";
  }

  nearest(share) {
    const at = share * this.total;
    const distance = ([seconds]) => Math.abs(seconds - at);
    return this.#points.reduce((best, point) =>
      distance(point) < distance(best) ? point : best,
    )[0];
  }
}

/** Two histograms, one over the other. */
export class Histograms {
  constructor() {
    this.paths = ["before", "after"].map((name) => svg("path", { class: `histogram ${name}` }));
    this.node = svg(
      "svg",
      {
        class: "chart",
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        "aria-label": "Histograms of brightness",
        preserveAspectRatio: "none",
      },
      ...this.paths,
    );
  }

  show(histograms) {
    const high = Math.max(...histograms.flat(), 1e-9);
    histograms.forEach((bars, index) => {
      const step = WIDTH / bars.length;
      const y = (bar) => (HEIGHT - Math.sqrt(bar / high) * (HEIGHT - TOP)).toFixed(1);
      const tops = bars.map(
        (bar, i) => `L${(i * step).toFixed(1)},${y(bar)}L${((i + 1) * step).toFixed(1)},${y(bar)}`,
      );
      this.paths[index].setAttribute("d", `M0,${HEIGHT}${tops.join("")}L${WIDTH},${HEIGHT}Z`);
    });
  }
}

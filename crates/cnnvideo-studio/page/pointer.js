// SPDX-License-Identifier: MIT OR Apache-2.0
// Pointers on the picture: the split, moving, zooming, and the tool of a card.

import { find } from "./dom.js";

/** Movement in CSS pixels below which a press is a click. */
const CLICK = 4;
const WHEEL_STEP = 1.0015;

export class Pointer {
  /** Takes presses on the picture: {start, move, end}, which get pixels of the video. */
  tool = null;
  #points = new Map();
  #pinch = 0;

  constructor(view) {
    this.view = view;
    this.box = find("view");
    this.box.addEventListener("pointerdown", (event) => this.press(event));
    this.box.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) {
      this.box.addEventListener(name, (event) => this.release(event));
    }
    this.box.addEventListener("contextmenu", (event) => this.tool && event.preventDefault());
    this.box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.box.addEventListener("dblclick", (event) => {
      if (!this.tool)
        view.setZoom(view.zoom === "fit" ? Math.max(2, 2 * view.fit()) : "fit", this.at(event));
    });
    this.handle();
  }

  at(event) {
    const { left, top } = this.box.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  press(event) {
    if (!this.view.after || event.target.closest("button")) return;
    const at = this.at(event);
    this.box.setPointerCapture(event.pointerId);
    this.#points.set(event.pointerId, { at, start: at, moved: false });
    if (this.#points.size === 2) {
      this.#pinch = this.spread();
      // Two fingers zoom; what the first one has begun is not meant.
      this.tool?.end(at, false, true);
    } else if (this.tool) this.tool.start(this.view.toVideo(at.x, at.y), event);
  }

  drag(event) {
    const point = this.#points.get(event.pointerId);
    if (!point) return;
    const at = this.at(event);
    const { view } = this;
    const [x, y] = [at.x - point.at.x, at.y - point.at.y];
    point.at = at;
    point.moved ||= Math.hypot(at.x - point.start.x, at.y - point.start.y) > CLICK;
    if (this.#points.size === 2) {
      const spread = this.spread();
      view.setZoom((view.scale * spread) / this.#pinch, at);
      this.#pinch = spread;
    } else if (this.tool && !this.#pinch) {
      this.tool.move(view.toVideo(at.x, at.y), point.moved);
    } else if (view.zoom !== "fit") {
      const ratio = view.canvas.width / this.box.clientWidth / view.scale;
      view.moveBy((-x * ratio) / view.size.width, (-y * ratio) / view.size.height);
    }
  }

  release(event) {
    const point = this.#points.get(event.pointerId);
    this.#points.delete(event.pointerId);
    const pinched = this.#pinch > 0;
    if (this.#points.size === 0) this.#pinch = 0;
    if (point && this.tool && !pinched) {
      const at = this.view.toVideo(point.at.x, point.at.y);
      this.tool.end(at, point.moved, event.type === "pointercancel");
    }
  }

  spread() {
    const [a, b] = [...this.#points.values()].map((point) => point.at);
    return Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
  }

  wheel(event) {
    event.preventDefault();
    const { view } = this;
    view.setZoom(view.scale * WHEEL_STEP ** -event.deltaY, this.at(event));
  }

  /** The handle of the split. */
  handle() {
    const split = find("split");
    const set = (share) => this.view.set({ split: Math.min(1, Math.max(0, share)) });
    split.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      event.preventDefault();
      split.focus();
      split.setPointerCapture(event.pointerId);
      split.onpointermove = (move) => set(this.at(move).x / this.box.clientWidth);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      split.addEventListener(name, () => {
        split.onpointermove = null;
      });
    }
    split.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      set(this.view.split + step);
    });
  }
}

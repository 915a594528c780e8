// SPDX-License-Identifier: MIT OR Apache-2.0
// Draws the pictures: split, side by side, difference and blink, zoomed and moved alike.

import { Signal, find } from "./dom.js";

export const MODES = ["split", "side", "difference", "blink", "after"];
export const ZOOMS = ["fit", 1, 2, 4, 8];
const BLINK_INTERVAL = 500;

export class View {
  onLayout = new Signal();
  onDraw = new Signal();
  before = null;
  after = null;
  regions = null;
  header = null;
  mode = "split";
  /** Place of the split, as a share of the width of the view. */
  split = 0.5;
  /** Device pixels a pixel of the video, or "fit". */
  zoom = "fit";
  /** Point of the video in the middle of the view, in shares of its size. */
  centre = { x: 0.5, y: 0.5 };
  gain = 8;
  showRegions = true;
  #phase = true;
  #queued = false;
  #difference = null;
  #last = Promise.resolve();

  constructor() {
    this.canvas = find("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.box = find("view");
    new ResizeObserver(() => this.resize()).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    setInterval(() => {
      if (this.mode !== "blink") return;
      this.#phase = !this.#phase;
      this.draw();
    }, BLINK_INTERVAL);
  }

  /** Shows the picture of a message behind those before; returns its header when it is drawn. */
  show(data) {
    const shown = this.#last.then(() => this.#show(data));
    this.#last = shown.catch(() => {});
    return shown;
  }

  async #show(data) {
    const length = new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    let start = 4 + length;
    const [before, after, regions] = await Promise.all(
      header.bytes.map((bytes) => {
        const part = new Uint8Array(data, start, bytes);
        start += bytes;
        return bytes ? createImageBitmap(new Blob([part])) : null;
      }),
    );
    const old = [before && this.before, this.after, this.regions];
    if (before) this.before = before;
    this.after = after;
    this.regions = regions;
    const first = this.header?.opening !== header.opening;
    this.header = header;
    this.#difference = null;
    if (first) this.setZoom("fit");
    this.paint();
    old.forEach((image) => image?.close());
    return header;
  }

  clear() {
    this.before = this.after = this.regions = this.header = null;
    this.draw();
  }

  get size() {
    return { width: this.after?.width ?? 1, height: this.after?.height ?? 1 };
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.box.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.box.clientHeight * ratio));
    this.paint();
  }

  set(fields) {
    Object.assign(this, fields);
    this.#difference = null;
    this.draw();
    this.onLayout.emit();
  }

  setZoom(zoom, at) {
    const fixed = at && this.toVideo(at.x, at.y);
    this.zoom = zoom === "fit" || zoom <= this.fit() ? "fit" : Math.min(8, zoom);
    if (this.zoom === "fit") this.centre = { x: 0.5, y: 0.5 };
    else if (fixed) {
      const now = this.toVideo(at.x, at.y);
      this.moveBy((fixed.x - now.x) / this.size.width, (fixed.y - now.y) / this.size.height);
    }
    this.draw();
    this.onLayout.emit();
  }

  moveBy(x, y) {
    const within = (value) => Math.min(1, Math.max(0, value));
    this.centre = { x: within(this.centre.x + x), y: within(this.centre.y + y) };
    this.draw();
  }

  /** Width and height of the room for one picture, in device pixels. */
  get room() {
    const half = this.mode === "side";
    const stacked = half && this.canvas.height > this.canvas.width;
    return {
      width: half && !stacked ? this.canvas.width / 2 : this.canvas.width,
      height: stacked ? this.canvas.height / 2 : this.canvas.height,
      stacked,
    };
  }

  fit() {
    const { width, height } = this.room;
    return Math.min(width / this.size.width, height / this.size.height);
  }

  get scale() {
    return this.zoom === "fit" ? this.fit() : this.zoom;
  }

  /** Left upper corner of the picture in its room, in device pixels. */
  corner() {
    const { width, height } = this.room;
    const { scale, size } = this;
    return {
      x: Math.round(width / 2 - this.centre.x * size.width * scale),
      y: Math.round(height / 2 - this.centre.y * size.height * scale),
    };
  }

  /** Returns the pixel of the video at a point of the view in CSS pixels. */
  toVideo(x, y) {
    const ratio = this.canvas.width / this.box.clientWidth;
    const { width, height, stacked } = this.room;
    const corner = this.corner();
    let [left, top] = [x * ratio, y * ratio];
    if (this.mode === "side" && !stacked && left >= width) left -= width;
    if (this.mode === "side" && stacked && top >= height) top -= height;
    return { x: (left - corner.x) / this.scale, y: (top - corner.y) / this.scale };
  }

  /** Returns the point of the view, in CSS pixels, of a pixel of the video. */
  toView(x, y) {
    const ratio = this.canvas.width / this.box.clientWidth;
    const corner = this.corner();
    return { x: (corner.x + x * this.scale) / ratio, y: (corner.y + y * this.scale) / ratio };
  }

  /** Draws before the next frame of the screen. */
  draw() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.paint();
    });
  }

  paint() {
    const { context, canvas } = this;
    context.fillStyle = getComputedStyle(this.box).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!this.after || !this.before) return;
    context.imageSmoothingEnabled = this.scale < 1;
    context.imageSmoothingQuality = "high";
    const { width, height, stacked } = this.room;
    if (this.mode === "side") {
      this.picture("before", 0, 0, 0, 0, width, height);
      const [x, y] = stacked ? [0, height] : [width, 0];
      this.picture("after", x, y, x, y, width, height);
    } else if (this.mode === "split") {
      const at = Math.round(this.split * canvas.width);
      this.picture("before", 0, 0, 0, 0, at, height);
      this.picture("after", 0, 0, at, 0, width - at, height);
    } else if (this.mode === "difference") {
      this.picture("difference", 0, 0, 0, 0, width, height);
    } else {
      const name = this.mode === "blink" && !this.#phase ? "before" : "after";
      this.picture(name, 0, 0, 0, 0, width, height);
    }
    this.onDraw.emit();
  }

  get blinksAfter() {
    return this.#phase;
  }

  /** Draws a picture whose room begins at a point, cut to a part of the canvas. */
  picture(name, x, y, left, top, width, height) {
    const { context, size, scale } = this;
    const image = name === "difference" ? this.difference() : this[name];
    const corner = this.corner();
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    const place = [x + corner.x, y + corner.y, size.width * scale, size.height * scale];
    context.drawImage(image, ...place);
    if (this.regions && this.showRegions && name === "after")
      context.drawImage(this.regions, ...place);
    context.restore();
  }

  /** Returns the amplified absolute difference of the pictures. */
  difference() {
    if (this.#difference) return this.#difference;
    const { width, height } = this.size;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { alpha: false });
    context.drawImage(this.before, 0, 0);
    context.globalCompositeOperation = "difference";
    context.drawImage(this.after, 0, 0);
    // Each addition of the picture to itself doubles it.
    context.globalCompositeOperation = "lighter";
    for (let factor = 1; factor < this.gain; factor *= 2) context.drawImage(canvas, 0, 0);
    this.#difference = canvas;
    return canvas;
  }
}

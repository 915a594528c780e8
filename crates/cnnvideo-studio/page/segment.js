// SPDX-License-Identifier: MIT OR Apache-2.0
// Points, strokes and boxes on the picture, for the card of the regions.

import { Signal, h } from "./dom.js";

/** Colours of the regions 1 to 8, as the server draws them. */
const COLOURS = [
  "#009e73",
  "#d55e00",
  "#56b4e9",
  "#cc79a7",
  "#f0e442",
  "#0072b2",
  "#e69f00",
  "#9a9a9a",
];
const MODES = { add: "Add", remove: "Remove", box: "Box" };
const MARK = 6;
/** Most points of a stroke that are kept. */
const STROKE_POINTS = 40;

/** The seeds of the property as a list of texts. */
const seedsOf = (card) => String(card?.properties.seeds ?? "").split(";").filter(Boolean);

export class Segment {
  onTool = new Signal();
  mode = "add";
  region = 1;
  #id = null;
  #draft = null;

  constructor(chain, view, pointer) {
    Object.assign(this, { chain, view, pointer });
    view.onDraw.on(() => this.draw());
    chain.onChange.on(() => {
      if (this.#id !== null && !chain.card(this.#id)?.on) this.use(null);
      view.draw();
    });
  }

  get card() {
    return this.chain.cards.find((card) => card.element === "cnnsegment" && card.on);
  }

  get active() {
    return this.#id !== null;
  }

  /** Takes the presses on the picture for a card, or gives them back. */
  use(id) {
    this.#id = id;
    this.pointer.tool = id === null ? null : this;
    this.view.box.classList.toggle("pointing", id !== null);
    this.onTool.emit();
  }

  set(seeds) {
    const control = this.chain.elements
      .get("cnnsegment")
      .controls.find(({ name }) => name === "seeds");
    this.chain.set(this.#id ?? this.card.id, control, seeds.length ? seeds.join(";") : null);
  }

  undo() {
    this.set(seedsOf(this.card).slice(0, -1));
  }

  clear() {
    this.set([]);
  }

  // The tool: a click is a point, a drag a stroke or, with Shift, a box.
  start(at, event) {
    const remove = event.button === 2 || event.ctrlKey;
    const kind = event.shiftKey ? "box" : remove ? "remove" : this.mode;
    this.#draft = { kind, points: [at] };
  }

  move(at, moved) {
    if (!this.#draft || !moved) return;
    if (this.#draft.kind === "box") this.#draft.points[1] = at;
    else this.#draft.points.push(at);
    this.view.draw();
  }

  end(at, moved, cancelled) {
    const draft = this.#draft;
    this.#draft = null;
    if (!draft || cancelled) return;
    const seed = this.seedOf(draft, moved, at);
    if (seed) this.set([...seedsOf(this.card), seed]);
  }

  seedOf({ kind, points }, moved, at) {
    const { width, height } = this.view.size;
    const text = ({ x, y }) => {
      const within = (value, end) => Math.min(end - 1, Math.max(0, Math.round(value)));
      return `${within(x, width)},${within(y, height)}`;
    };
    const number = this.region > 1 ? this.region : "";
    if (kind === "box") return moved ? `box${number}:${text(points[0])},${text(at)}` : null;
    const name = kind === "remove" ? "bg" : `fg${number}`;
    if (!moved) return `${name}:${text(points[0])}`;
    const every = Math.ceil(points.length / STROKE_POINTS);
    const kept = points.filter((_, index) => index % every === 0);
    return `stroke-${name}:${[...kept, at].map(text).join(",")}`;
  }

  /** Draws the seeds over the picture. */
  draw() {
    const { view } = this;
    if (!this.card || !view.after || !view.showRegions) return;
    const seeds = seedsOf(this.card).map(parse).filter(Boolean);
    if (this.#draft?.points.length > 1) {
      const { kind, points } = this.#draft;
      seeds.push({
        kind: kind === "box" ? "box" : "stroke",
        remove: kind === "remove",
        region: this.region,
        points,
      });
    }
    for (const seed of seeds) this.drawSeed(seed);
  }

  drawSeed({ kind, remove, region, points }) {
    const { context, scale } = this.view;
    const ratio = window.devicePixelRatio || 1;
    const corner = this.view.corner();
    const { width, height } = this.view.size;
    const place = points.map(({ x, y, percent }) =>
      percent
        ? [corner.x + (x / 100) * width * scale, corner.y + (y / 100) * height * scale]
        : [corner.x + (x + 0.5) * scale, corner.y + (y + 0.5) * scale],
    );
    const colour = remove ? "#e02b20" : COLOURS[region - 1];
    context.save();
    const path = new Path2D();
    if (kind === "point") {
      path.arc(...place[0], MARK * ratio, 0, 2 * Math.PI);
    } else if (kind === "box") {
      const [[left, top], [right, bottom]] = place;
      path.rect(left, top, right - left, bottom - top);
    } else {
      place.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
    }
    context.lineJoin = context.lineCap = "round";
    context.strokeStyle = "#000";
    context.lineWidth = 4 * ratio;
    context.stroke(path);
    context.strokeStyle = kind === "point" ? "#fff" : colour;
    context.lineWidth = 2 * ratio;
    context.stroke(path);
    if (kind === "point") {
      context.fillStyle = colour;
      context.fill(path);
    }
    context.restore();
  }

  /** Returns what the card shows beside its settings. */
  content(id) {
    const tool = h("button", { class: "wide", onclick: () => this.use(this.active ? null : id) });
    const modes = Object.entries(MODES).map(([mode, text]) =>
      h(
        "button",
        {
          value: mode,
          onclick: () => {
            this.mode = mode;
            this.use(id);
          },
        },
        text,
      ),
    );
    const regions = COLOURS.map((colour, index) => {
      const button = h(
        "button",
        {
          class: "swatch",
          "aria-label": `Region ${index + 1}`,
          title: `Region ${index + 1}`,
          onclick: () => {
            this.region = index + 1;
            this.use(id);
          },
        },
        String(index + 1),
      );
      button.style.setProperty("--swatch", colour);
      return button;
    });
    const undo = h("button", { onclick: () => this.undo() }, "Undo point");
    const clear = h("button", { onclick: () => this.clear() }, "Clear");
    const hint = h("p", { class: "hint" });
    const update = () => {
      const count = seedsOf(this.chain.card(id)).length;
      tool.textContent = this.active ? "Done pointing" : "Point at the picture";
      tool.setAttribute("aria-pressed", this.active);
      modes.forEach((button) =>
        button.setAttribute("aria-pressed", this.active && button.value === this.mode),
      );
      regions.forEach((button, index) =>
        button.setAttribute("aria-pressed", index + 1 === this.region),
      );
      undo.disabled = clear.disabled = !count;
      hint.textContent = count
        ? "Set the strength inside and outside of the regions in the cards below."
        : "Click an object, draw a stroke, or drag a box with Shift. A right click removes.";
    };
    this.onTool.on(update);
    const node = h(
      "div",
      { class: "segment" },
      tool,
      h("div", { class: "choice", role: "group", "aria-label": "Pointing" }, ...modes),
      h("div", { class: "swatches", role: "group", "aria-label": "Region" }, ...regions),
      h("div", { class: "buttons" }, undo, clear),
      hint,
    );
    return { node, update, hides: ["seeds", "output", "quality"] };
  }
}

/** Reads a seed of the property. */
function parse(text) {
  const found = /^(box|fg|bg|stroke-fg|stroke-bg)([2-8]?):(.*)$/.exec(text.trim());
  if (!found) return null;
  const [, name, region, list] = found;
  const values = list
    .split(",")
    .map((value) => ({ value: parseFloat(value), percent: value.includes("%") }));
  const points = [];
  for (let i = 0; i + 1 < values.length; i += 2) {
    points.push({ x: values[i].value, y: values[i + 1].value, percent: values[i].percent });
  }
  const kind = name === "box" ? "box" : name.startsWith("stroke") ? "stroke" : "point";
  return points.length
    ? { kind, remove: name.endsWith("bg"), region: Number(region || 1), points }
    : null;
}

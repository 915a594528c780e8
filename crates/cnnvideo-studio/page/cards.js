// SPDX-License-Identifier: MIT OR Apache-2.0
// The cards of the chain.

import { TITLES } from "./chain.js";
import { makeControl } from "./control.js";
import { find, h, iconButton } from "./dom.js";

/** Settings that users change first, in this order; all others follow by name. */
const FIRST = [
  "strength",
  "noise-level",
  "scale",
  "structure",
  "key-file",
  "payload",
  "target-psnr",
  "foreground-strength",
  "background-strength",
  "temporal",
  "lookahead",
  "quality",
];
const rank = ({ name }) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);

export class Cards {
  /** @param extras makes further content of a card, by element: {node, update} */
  constructor(chain, extras) {
    this.chain = chain;
    this.extras = extras;
    this.shown = new Map();
    this.explained = new Set();
    this.opened = new Set();
    this.problems = new Map();
    chain.onChange.on(() => this.update());
  }

  /** Shows the chain as it is; cards that stay keep their controls and the focus. */
  update() {
    const list = find("cards");
    const ids = this.chain.cards.map((card) => card.id);
    for (const [id, view] of this.shown) {
      if (!ids.includes(id)) {
        view.node.remove();
        this.shown.delete(id);
      }
    }
    this.chain.cards.forEach((card, index) => {
      if (!this.shown.has(card.id)) this.shown.set(card.id, this.make(card));
      const view = this.shown.get(card.id);
      if (list.children[index] !== view.node)
        list.insertBefore(view.node, list.children[index] ?? null);
      view.update(card, index, ids.length);
    });
    this.offer();
  }

  offer() {
    const used = new Set(this.chain.cards.map((card) => card.element));
    const left = [...this.chain.elements.keys()].filter((name) => !used.has(name));
    const button = (name) =>
      h(
        "button",
        {
          class: "offer",
          title: this.chain.elements.get(name).about,
          onclick: () => this.chain.add(name),
        },
        `+ ${TITLES[name] ?? name}`,
      );
    find("add").replaceChildren(...left.map(button));
  }

  /** Shows statistics of the elements. */
  stats(all) {
    for (const [id, view] of this.shown) view.stats(all?.[id]);
  }

  problem(id, problem) {
    this.problems.set(id, problem);
    this.shown.get(id)?.problem(problem);
  }

  clearProblems() {
    this.problems.clear();
    for (const view of this.shown.values()) view.problem(null);
  }

  make(card) {
    const { chain } = this;
    const { id } = card;
    const element = chain.elements.get(card.element);
    const title = TITLES[card.element] ?? card.element;
    const controls = element.controls.map((control) => [
      control,
      makeControl(control, chain.value(card, control), (value) => chain.set(id, control, value)),
    ]);
    const on = h("input", {
      type: "checkbox",
      class: "toggle",
      "aria-label": `${title} on`,
      onchange: () => chain.setOn(id, on.checked),
    });
    const up = iconButton("up", `Move ${title} up`, () => chain.move(id, -1));
    const down = iconButton("down", `Move ${title} down`, () => chain.move(id, 1));
    const stats = h("p", { class: "stats" });
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const extra = this.extras[card.element]?.(id);
    const row = (rare) =>
      controls
        .sort(([a], [b]) => rank(a) - rank(b))
        .filter(
          ([control]) => Boolean(control.rare) === rare && !extra?.hides?.includes(control.name),
        )
        .map(([, made]) => made.row);
    const rare = row(true);
    const more = rare.length ? h("details", {}, h("summary", {}, "More settings"), ...rare) : null;
    const explain = iconButton(
      "info",
      "Explain the settings",
      () => {
        explain.setAttribute("aria-pressed", node.classList.toggle("explained"));
      },
      { "aria-pressed": "false" },
    );
    const node = h(
      "li",
      { class: "card" },
      h(
        "header",
        {},
        on,
        h("h3", {}, title, h("small", {}, card.element)),
        explain,
        up,
        down,
        iconButton("reset", `Reset ${title}`, () => chain.resetCard(id)),
        iconButton("close", `Remove ${title}`, () => chain.remove(id)),
      ),
      problem,
      h("div", { class: "body" }, extra?.node ?? null, ...row(false), more),
      stats,
    );
    node.dataset.element = card.element;
    const update = (now, index, count) => {
      on.checked = now.on;
      node.classList.toggle("off", !now.on);
      up.disabled = index === 0;
      down.disabled = index === count - 1;
      controls.forEach(([control, made]) => made.update(chain.value(now, control)));
      extra?.update?.(now);
    };
    const showProblem = (found) => {
      problem.hidden = !found;
      problem.textContent = found ? `${sentence(found.text)} ${sentence(found.advice)}` : "";
    };
    return {
      node,
      update,
      problem: showProblem,
      stats: (values) => {
        stats.textContent = statsText(values);
      },
    };
  }
}

/** Returns a text as a sentence. */
export function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "";
}

function statsText(values) {
  if (!values?.frames) return "";
  const parts = [`${values["mean-ms"].toFixed(1)} ms a frame`];
  if (values["noise-level"] !== undefined)
    parts.push(`noise sigma ${values["noise-level"].toFixed(1)}`);
  if (values.regions !== undefined)
    parts.push(`${values.regions} ${values.regions === 1 ? "region" : "regions"}`);
  if (values.dropped) parts.push(`${values.dropped} dropped`);
  if (values.backend) parts.push(values.backend);
  return parts.join(" · ");
}

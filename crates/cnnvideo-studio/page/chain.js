// SPDX-License-Identifier: MIT OR Apache-2.0
// The cards and their settings, with undo. The page owns this state; the server follows it.

import { Signal } from "./dom.js";

/** Names of the elements in the words of users. */
export const TITLES = {
  cnndenoise: "Denoise",
  cnnsmooth: "Smooth",
  cnnsegment: "Regions",
  cnndeband: "Deband",
  watermarkembed: "Embed mark",
  watermarkdetect: "Find mark",
};

/** Settings of new cards. */
const FIRST_SETTINGS = {
  watermarkdetect: { "post-all": true },
};

/** Time within which changes of one setting are one step of undo, in milliseconds. */
const ONE_STEP = 700;

export class Chain {
  onChange = new Signal();
  cards = [];
  elements = new Map();
  revision = 0;
  #past = [];
  #future = [];
  #next = 1;
  #last = { key: "", time: 0 };

  setElements(list) {
    this.elements = new Map(list.map((element) => [element.name, element]));
  }

  card(id) {
    return this.cards.find((card) => card.id === id);
  }

  /** Applies a change. Changes with the same key that follow each other are one step of undo. */
  change(key, apply) {
    const now = performance.now();
    const joined = key && key === this.#last.key && now - this.#last.time < ONE_STEP;
    if (!joined) this.#past.push(JSON.stringify(this.cards));
    if (this.#past.length > 200) this.#past.shift();
    this.#last = { key, time: now };
    this.#future = [];
    apply(this.cards);
    this.#changed();
  }

  /** Adds a card: regions to the front, where the other elements read them; all else to the end. */
  add(element) {
    const card = {
      id: this.#next++,
      element,
      on: true,
      properties: { ...FIRST_SETTINGS[element] },
    };
    const front = element === "cnnsegment";
    this.change("", (cards) => (front ? cards.unshift(card) : cards.push(card)));
    return card;
  }

  remove(id) {
    this.change("", (cards) =>
      cards.splice(
        cards.findIndex((card) => card.id === id),
        1,
      ),
    );
  }

  /** Moves a card up (-1) or down (1). */
  move(id, by) {
    const from = this.cards.findIndex((card) => card.id === id);
    const to = from + by;
    if (to < 0 || to >= this.cards.length) return;
    this.change("", (cards) => cards.splice(to, 0, ...cards.splice(from, 1)));
  }

  setOn(id, on) {
    this.change("", () => {
      this.card(id).on = on;
    });
  }

  /** Sets a property; a value that is the default is left out. */
  set(id, control, value) {
    this.change(`${id}.${control.name}`, () => {
      const { properties } = this.card(id);
      if (value === control.default || value === null) delete properties[control.name];
      else properties[control.name] = value;
    });
  }

  value(card, control) {
    return card.properties[control.name] ?? control.default;
  }

  resetCard(id) {
    this.change("", () => {
      this.card(id).properties = {};
    });
  }

  resetAll() {
    this.change("", (cards) =>
      cards.forEach((card) => {
        card.properties = {};
      }),
    );
  }

  /** Replaces all cards, for example by those of a preset. */
  replace(cards) {
    const known = cards.filter((card) => this.elements.has(card.element));
    this.change("", () => {
      this.cards = known.map((card) => ({
        id: this.#next++,
        element: card.element,
        on: card.on !== false,
        properties: { ...card.properties },
      }));
    });
    return known.length === cards.length;
  }

  /** Returns the cards without their numbers, to store them. */
  stored() {
    return this.cards.map(({ element, on, properties }) => ({ element, on, properties }));
  }

  allOff() {
    this.change("", (cards) =>
      cards.forEach((card) => {
        card.on = false;
      }),
    );
  }

  /** Makes the present state the one where undo ends. */
  begin() {
    this.#past = [];
    this.onChange.emit();
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  undo() {
    this.#swap(this.#past, this.#future);
  }

  redo() {
    this.#swap(this.#future, this.#past);
  }

  #swap(from, to) {
    if (!from.length) return;
    to.push(JSON.stringify(this.cards));
    this.cards = JSON.parse(from.pop());
    this.#last = { key: "", time: 0 };
    this.#changed();
  }

  #changed() {
    this.revision += 1;
    this.onChange.emit();
  }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// Makes elements of the page.

/**
 * Returns an element. Keys that begin with "on" are handlers; others are properties or attributes.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !key.startsWith("aria") && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const find = (id) => document.getElementById(id);

const SHAPES = {
  play: "M5 3v10l8-5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  back: "M11 3v10L5 8zM3 3h2v10H3z",
  forward: "M5 3v10l6-5zM11 3h2v10h-2z",
  undo: "M6 3 2 7l4 4V8.5h3.5a2.5 2.5 0 0 1 0 5H7v1.5h2.5a4 4 0 0 0 0-8H6z",
  redo: "M10 3l4 4-4 4V8.5H6.5a2.5 2.5 0 0 0 0 5H9v1.5H6.5a4 4 0 0 1 0-8H10z",
  loop:
    "M4 5h6.5V2.5L14 6l-3.5 3.5V7H5v2H3V6a1 1 0 0 1 1-1z" +
    "M12 11H5.5v2.5L2 10l3.5-3.5V9H11V7h2v3a1 1 0 0 1-1 1z",
  full: "M2 2h5v1.5H3.5V7H2zM9 2h5v5h-1.5V3.5H9zM2 9h1.5v3.5H7V14H2zM12.5 9H14v5H9v-1.5h3.5z",
  up: "M8 4l5 5-1.2 1.2L8 6.4l-3.8 3.8L3 9z",
  down: "M8 12L3 7l1.2-1.2L8 9.6l3.8-3.8L13 7z",
  close: "M4 3l4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4-4-4z",
  reset: "M8 3a5 5 0 1 1-4.8 3.6l1.5.4A3.5 3.5 0 1 0 8 4.5V7L4.5 3.7 8 .5z",
  info:
    "M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z" +
    "M7.2 7v4.5h1.6V7zM8 4.2a1 1 0 1 0 0 2 1 1 0 0 0 0-2z",
};

/** Returns a picture of 16 by 16 units. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

/** Returns a button with a picture only. */
export function iconButton(name, label, onclick, props = {}) {
  return h(
    "button",
    { class: "quiet", "aria-label": label, title: label, onclick, ...props },
    icon(name),
  );
}

export function setIcon(button, name) {
  button.replaceChildren(icon(name));
}

/** Returns seconds as minutes, seconds and hundredths. */
export function clockText(seconds) {
  const whole = Math.max(0, seconds || 0);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole - 60 * minutes).toFixed(2).padStart(5, "0")}`;
}

/** Tells handlers of changes. */
export class Signal {
  #handlers = [];
  on(handler) {
    this.#handlers.push(handler);
  }
  emit(...values) {
    this.#handlers.forEach((handler) => handler(...values));
  }
}

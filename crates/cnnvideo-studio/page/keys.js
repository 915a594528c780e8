// SPDX-License-Identifier: MIT OR Apache-2.0
// Keyboard shortcuts and the page that lists them.

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";

/** Returns whether a key belongs to the field that has the focus. */
function isTyping(event) {
  const { target } = event;
  return (
    document.querySelector("dialog[open]") ||
    target.closest("dialog, select, textarea, input[type=text], input[type=number]") ||
    (target.closest("input[type=range]") && event.key.startsWith("Arrow")) ||
    (target.closest("button, summary, input") && event.key === " ")
  );
}

/** Returns the name of a key with its modifiers. */
function nameOf({ key, ctrlKey, shiftKey }) {
  const name = key.length === 1 ? key.toLowerCase() : key;
  if (!ctrlKey) return name;
  return `Ctrl+${shiftKey ? "Shift+" : ""}${name}`;
}

/** Listens to keys. `actions` has rows [keys, text, action]; keys are names of KeyboardEvent. */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || isTyping(event)) return;
    const found = actions.find(([keys]) => keys.includes(nameOf(event)));
    if (!found) return;
    event.preventDefault();
    found[2](nameOf(event));
  });
}

const SHOWN = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };

export function helpDialog(actions) {
  const row = ([keys, text]) =>
    h(
      "div",
      {},
      h("dt", {}, ...keys.flatMap((key) => [h("kbd", {}, SHOWN[key] ?? key), " "])),
      h("dd", {}, text),
    );
  const gestures = [
    ["Wheel, pinch", "zoom in and out"],
    ["Drag", "move the zoomed picture"],
    ["Double click", "zoom, or fit the view"],
  ].map(([what, text]) => h("div", {}, h("dt", {}, what), h("dd", {}, text)));
  openDialog("Keys", h("dl", { class: "keys" }, ...actions.map(row), ...gestures));
}

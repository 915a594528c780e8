// SPDX-License-Identifier: MIT OR Apache-2.0
// Controls of properties: sliders, switches, choices and texts.

import { h } from "./dom.js";
import { chooseFile } from "./files.js";

/** Largest range for which a slider is of use. */
const SLIDER_RANGE = 4096;

/** Returns "noise level" for "noise-level". */
export const words = (name) => name.replaceAll("-", " ").replace("psnr", "PSNR");

/** Returns the control of a property of a card, and how to show another value in it. */
export function makeControl(control, value, set) {
  const id = `control-${Math.random().toString(36).slice(2)}`;
  const make = { real: number, whole: number, switch: toggle, choice, text }[control.kind];
  const { nodes, show } = make(control, id, set);
  const about = h("p", { class: "about", id: `${id}-about` }, control.about);
  const row = h("div", { class: `control ${control.kind}`, title: control.about }, ...nodes, about);
  row.dataset.name = control.name;
  const update = (shown) => {
    row.classList.toggle(
      "changed",
      shown !== control.default && !(shown === "" && control.default === null),
    );
    show(shown);
  };
  update(value);
  return { row, update };
}

function label(control, id) {
  return h("label", { htmlFor: id }, words(control.name));
}

/** A slider with a field. -1 stands for a value that the element estimates. */
function number(control, id, set) {
  const estimates = control.low === -1 && control.default === -1;
  const low = estimates ? 0 : control.low;
  const step = control.kind === "whole" ? 1 : stepOf(control.high - low);
  const limits = { min: low, max: control.high, step };
  const field = h("input", { type: "number", id, ...limits, "aria-describedby": `${id}-about` });
  const hasSlider = control.high - low <= SLIDER_RANGE && step > 0;
  const slider =
    hasSlider && h("input", { type: "range", ...limits, "aria-label": words(control.name) });
  const auto =
    estimates && h("input", { type: "checkbox", "aria-label": `estimate ${words(control.name)}` });
  const take = (text) => {
    const value = Number(text);
    if (text === "" || !Number.isFinite(value)) return;
    set(Math.min(control.high, Math.max(low, value)));
  };
  if (slider) slider.addEventListener("input", () => take(slider.value));
  field.addEventListener("change", () => take(field.value));
  let lastLevel = Math.max(low, Math.min(10, control.high));
  if (auto) auto.addEventListener("change", () => set(auto.checked ? -1 : lastLevel));
  const show = (value) => {
    const automatic = estimates && value < 0;
    if (!automatic) lastLevel = value;
    if (auto) auto.checked = automatic;
    slider?.closest?.(".control")?.classList.toggle("estimated", automatic);
    if (slider) slider.value = automatic ? low : value;
    if (document.activeElement !== field || automatic)
      field.value = automatic ? "" : shorten(value, step);
    field.placeholder = automatic ? "auto" : "";
  };
  const head = h(
    "div",
    { class: "head" },
    label(control, id),
    auto ? h("label", { class: "auto" }, auto, "auto") : null,
    field,
  );
  return { nodes: slider ? [head, slider] : [head], show };
}

function stepOf(range) {
  if (range <= 0.1) return "any";
  return range <= 4 ? 0.01 : range <= 16 ? 0.05 : 0.5;
}

function shorten(value, step) {
  return step === "any" ? String(value) : String(Number(Number(value).toFixed(3)));
}

function toggle(control, id, set) {
  const box = h("input", {
    type: "checkbox",
    class: "toggle",
    id,
    "aria-describedby": `${id}-about`,
  });
  box.addEventListener("change", () => set(box.checked));
  const show = (value) => {
    box.checked = value;
  };
  return { nodes: [h("div", { class: "head" }, label(control, id), box)], show };
}

function choice(control, id, set) {
  const option = ({ value, about }) => h("option", { value, title: about }, value);
  const select = h(
    "select",
    { id, "aria-describedby": `${id}-about` },
    ...control.choices.map(option),
  );
  select.addEventListener("change", () => set(select.value));
  const show = (value) => {
    select.value = value;
  };
  return { nodes: [h("div", { class: "head" }, label(control, id), select)], show };
}

function text(control, id, set) {
  const field = h("input", {
    type: "text",
    id,
    spellcheck: false,
    autocomplete: "off",
    "aria-describedby": `${id}-about`,
  });
  const take = (value) => set(value === "" ? null : value);
  field.addEventListener("change", () => take(field.value.trim()));
  const browse =
    control.path &&
    h(
      "button",
      {
        onclick: async () => {
          const path = await chooseFile({
            title: `Choose the ${words(control.name)}`,
            videos: false,
          });
          if (path) take(path);
        },
      },
      "Choose",
    );
  const show = (value) => {
    field.value = value ?? "";
  };
  return { nodes: [label(control, id), h("div", { class: "path" }, field, browse || null)], show };
}

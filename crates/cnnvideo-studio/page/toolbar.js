// SPDX-License-Identifier: MIT OR Apache-2.0
// The row of buttons above the picture, and the marks on it.

import { find, h, setIcon } from "./dom.js";
import { MODES, ZOOMS } from "./view.js";

const MODE_TEXTS = {
  split: ["Split", "S"],
  side: ["Side by side", "D"],
  difference: ["Difference", "X"],
  blink: ["Blink", "B"],
  after: ["After", "A"],
};

export function makeToolbar(view, showRegions) {
  const modes = MODES.map((mode) => {
    const [text, key] = MODE_TEXTS[mode];
    return h(
      "button",
      { value: mode, title: `${text} (${key})`, onclick: () => view.set({ mode }) },
      text,
    );
  });
  find("modes").append(...modes);
  const zooms = ZOOMS.map((zoom) =>
    h(
      "button",
      {
        value: zoom,
        title:
          zoom === "fit" ? "Fit the view (0)" : `${zoom} pixels of the screen a pixel (${zoom})`,
        onclick: () => view.setZoom(zoom),
      },
      zoom === "fit" ? "Fit" : `${zoom}:1`,
    ),
  );
  find("zooms").append(...zooms);
  setIcon(find("full"), "full");
  find("full").onclick = toggleFullScreen;
  const gain = find("gain");
  gain.oninput = () => view.set({ gain: 2 ** Number(gain.value) });
  const overlay = find("overlay");
  overlay.onclick = () => showRegions(!view.showRegions);

  const update = () => {
    modes.forEach((button) => button.setAttribute("aria-pressed", button.value === view.mode));
    zooms.forEach((button) =>
      button.setAttribute("aria-pressed", button.value === String(view.zoom)),
    );
    find("gain-label").hidden = view.mode !== "difference";
    gain.value = Math.log2(view.gain);
    find("gain-value").textContent = `${view.gain}x`;
    overlay.setAttribute("aria-pressed", view.showRegions);
    marks(view);
  };
  view.onLayout.on(update);
  view.onDraw.on(() => marks(view));
  update();
}

export function toggleFullScreen() {
  const stage = document.querySelector(".stage");
  if (document.fullscreenElement) document.exitFullscreen();
  else stage.requestFullscreen?.().catch(() => {});
}

/** Places the handle of the split and the names of the pictures. */
function marks(view) {
  const [split, before, after] = ["split", "tag-before", "tag-after"].map(find);
  const shown = Boolean(view.after);
  const { mode } = view;
  split.hidden = !shown || mode !== "split";
  split.style.left = `${100 * view.split}%`;
  split.setAttribute("aria-valuenow", Math.round(100 * view.split));
  const alone = mode === "blink" ? (view.blinksAfter ? "after" : "before") : mode;
  before.hidden =
    !shown ||
    !["split", "side", "before"].includes(alone) ||
    (mode === "split" && view.split < 0.12);
  after.hidden =
    !shown ||
    !["split", "side", "after"].includes(alone) ||
    (mode === "split" && view.split > 0.88);
  after.classList.toggle("stacked", mode === "side" && view.room.stacked);
}

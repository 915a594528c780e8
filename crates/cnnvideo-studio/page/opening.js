// SPDX-License-Identifier: MIT OR Apache-2.0
// The dialog that opens a file, a camera or a test picture.

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { browser } from "./files.js";

const PATTERNS = ["ball", "smpte", "snow", "zone-plate", "circular", "gradient", "checkers-8"];
const SIZES = [
  [640, 360],
  [1280, 720],
  [1920, 1080],
];

/** Shows the dialog; calls `open` with the source that the user has chosen. */
export function openingDialog(open) {
  const take = (source) => {
    close();
    open(source);
  };
  const device = h("input", { type: "text", value: "/dev/video0", "aria-label": "Device" });
  const pattern = h(
    "select",
    { "aria-label": "Pattern" },
    ...PATTERNS.map((name) => h("option", {}, name)),
  );
  const size = h(
    "select",
    { "aria-label": "Size" },
    ...SIZES.map(([width, height], index) => h("option", { value: index }, `${width} x ${height}`)),
  );
  const test = () => {
    const [width, height] = SIZES[Number(size.value)];
    take({ kind: "test", pattern: pattern.value, width, height });
  };
  const content = h(
    "div",
    {},
    browser({ videos: true, choose: (path) => take({ kind: "file", path }) }),
    h(
      "div",
      { class: "row" },
      h("h3", {}, "Camera"),
      device,
      h(
        "button",
        { onclick: () => take({ kind: "camera", device: device.value.trim() }) },
        "Open camera",
      ),
    ),
    h(
      "div",
      { class: "row" },
      h("h3", {}, "Test picture"),
      pattern,
      size,
      h("button", { id: "open-test", onclick: test }, "Open test picture"),
    ),
  );
  const close = openDialog("Open a video", content);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// The dialog with the commands that do to the whole file what the page shows.

import { request } from "./api.js";
import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { folder } from "./files.js";

const CODECS = { h264: "H.264, small", vp9: "VP9, small", ffv1: "FFV1, lossless" };
const CRF = { h264: 18, vp9: 24 };

/** Returns the name of a new file beside a video. */
export function proposedOutput(source, ending, extension = "mkv") {
  const path = source.kind === "file" ? source.path : `${folder()}/test.mkv`;
  return `${path.replace(/\.[^./]+$/, "")}-${ending}.${extension}`;
}

function lineBlock(title, note, id) {
  const code = h("code", { id, tabindex: 0 });
  const copy = h(
    "button",
    {
      onclick: async () => {
        // Without HTTPS, browsers offer the clipboard on this machine only.
        await navigator.clipboard?.writeText(code.textContent);
        copy.textContent = navigator.clipboard ? "Copied" : "Select and copy";
        setTimeout(() => {
          copy.textContent = "Copy";
        }, 1500);
      },
    },
    "Copy",
  );
  const block = h(
    "section",
    { class: "line" },
    h("div", { class: "line-head" }, h("h3", {}, title), h("p", {}, note), copy),
    h("pre", {}, code),
  );
  return {
    block,
    show: (text) => {
      block.hidden = !text;
      code.textContent = text ?? "";
    },
  };
}

/** Shows the dialog. `enqueue` adds a request to the queue. */
export function exportDialog(source, video, chain, enqueue) {
  const matte = h("input", { type: "checkbox", id: "export-matte" });
  const output = h("input", {
    type: "text",
    id: "export-output",
    spellcheck: false,
    value: proposedOutput(source, "clean"),
  });
  const codec = h(
    "select",
    { id: "export-codec" },
    ...Object.entries(CODECS).map(([value, text]) => h("option", { value }, text)),
  );
  const crf = h("input", { type: "number", id: "export-crf", min: 0, max: 63, value: CRF.h264 });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const blocks = [
    lineBlock("cnnvideo", "Keeps sound, subtitles and timestamps.", "line-command"),
    lineBlock("gst-launch-1.0", "The picture only.", "line-gstreamer"),
    lineBlock("Several machines", "With the Python package cnnvideo-cluster.", "line-cluster"),
  ];
  const add = h("button", { class: "main", id: "export-enqueue" }, "Add to the queue");
  const asked = () => ({
    source,
    format: video.format,
    cards: chain.cards,
    output: output.value.trim(),
    codec: codec.value,
    crf: codec.value === "ffv1" || crf.value === "" ? null : Number(crf.value),
    matte: matte.checked,
  });
  const update = async () => {
    crf.disabled = codec.value === "ffv1";
    let lines = {};
    try {
      lines = await request("POST", "/api/export", asked());
      problem.hidden = true;
    } catch (found) {
      problem.hidden = false;
      problem.textContent = `${found.text}: ${found.advice}`;
    }
    [lines.command, lines.gstreamer, lines.cluster].forEach((text, index) =>
      blocks[index].show(text),
    );
    add.disabled = !lines.command;
  };
  codec.onchange = () => {
    if (CRF[codec.value]) crf.value = CRF[codec.value];
    if (codec.value === "ffv1") output.value = output.value.replace(/\.[^./]+$/, ".mkv");
    update();
  };
  for (const field of [output, crf, matte]) field.onchange = update;
  add.onclick = async () => {
    if (await enqueue(asked())) close();
  };
  const regions = chain.cards.some((card) => card.element === "cnnsegment" && card.on);
  const matteRow = regions
    ? h("label", { class: "check" }, matte, "Write the regions as a black and white matte")
    : null;
  const hint = regions
    ? h("p", { class: "hint" }, "The points of the regions apply to the first frame of the file.")
    : null;
  const close = openDialog(
    "Export",
    h(
      "div",
      { class: "export" },
      h(
        "div",
        { class: "fields" },
        h("label", { class: "grow" }, "File", output),
        h("label", {}, "Codec", codec),
        h("label", { class: "short" }, "Quality (CRF)", crf),
      ),
      matteRow,
      hint,
      problem,
      ...blocks.map(({ block }) => block),
      h("footer", {}, add),
    ),
    { wide: true },
  );
  update();
}

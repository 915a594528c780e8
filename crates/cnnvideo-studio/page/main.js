// SPDX-License-Identifier: MIT OR Apache-2.0
// Brings the parts of the page together.

import { connect, onEvent, onPicture, onState, send } from "./api.js";
import { Cards, sentence } from "./cards.js";
import { Chain } from "./chain.js";
import { notice } from "./dialog.js";
import { find, h, setIcon } from "./dom.js";
import { exportDialog } from "./exporting.js";
import { setFolder } from "./files.js";
import { helpDialog, listen } from "./keys.js";
import { openingDialog } from "./opening.js";
import { Pointer } from "./pointer.js";
import { presetsDialog } from "./presets.js";
import { Quality } from "./quality.js";
import { enqueue, queueDialog } from "./queue.js";
import { Segment } from "./segment.js";
import { makeToolbar, toggleFullScreen } from "./toolbar.js";
import { Transport } from "./transport.js";
import { View } from "./view.js";
import { Watermarks } from "./watermark.js";

const chain = new Chain();
const view = new View();
const pointer = new Pointer(view);
const transport = new Transport();
const segment = new Segment(chain, view, pointer);
const quality = new Quality(transport);
const watermarks = new Watermarks(transport);
const cards = new Cards(chain, {
  cnnsegment: (id) => segment.content(id),
  watermarkembed: () => watermarks.embedder(),
  watermarkdetect: (id) => watermarks.detector(id),
});
let source = null;
let started = false;
/** Time at which each revision of the chain was made, and the times from there to its picture. */
const made = new Map();
const latencies = [];

function open(next) {
  source = next;
  find("export").disabled = true;
  transport.open(null);
  view.clear();
  quality.forget();
  watermarks.forget();
  find("empty").hidden = true;
  find("video").textContent = "Opening …";
  send("open", { source });
}

function sendChain() {
  cards.clearProblems();
  quality.forget();
  const regions = Boolean(segment.card);
  find("overlay").hidden = !regions;
  find("cards").classList.toggle("has-regions", regions);
  made.set(chain.revision, performance.now());
  send("chain", { cards: chain.cards, revision: chain.revision });
  find("undo").disabled = !chain.canUndo;
  find("redo").disabled = !chain.canRedo;
}

function showRegions(on) {
  view.set({ showRegions: on });
  send("regions", { on });
}

function showEmpty() {
  const empty = find("empty");
  empty.replaceChildren(
    h("p", {}, "Compare a video before and after the filters of cnnvideo."),
    h("button", { class: "main", onclick: () => openingDialog(open) }, "Open a video"),
    h(
      "button",
      { onclick: () => open({ kind: "test", pattern: "ball", width: 1280, height: 720 }) },
      "Show a test picture",
    ),
  );
  empty.hidden = false;
}

/** Begins a session: the first one with the file of the command line, others with what is open. */
function hello(event) {
  chain.setElements(event.elements);
  if (!started) {
    started = true;
    setFolder(event.folders[0] ?? "");
    chain.add("cnndenoise");
    chain.begin();
    if (event.file) source = { kind: "file", path: event.file };
  } else {
    sendChain();
  }
  cards.update();
  quality.tell();
  if (!view.showRegions) send("regions", { on: false });
  if (transport.looped) send("loop", { on: true });
  if (source) open(source);
  else showEmpty();
}

function opened({ video }) {
  transport.open(video);
  const [rate, scale] = video.rate;
  const parts = [`${video.width} × ${video.height}`, video.format];
  if (rate > 0) parts.splice(1, 0, `${Number((rate / scale).toFixed(2))} fps`);
  find("video").replaceChildren(h("strong", {}, video.title), h("span", {}, parts.join(" · ")));
  find("export").disabled = false;
}

function problem({ problem: found, card }) {
  if (chain.card(card)) cards.problem(card, found);
  else notice(sentence(found.text), { advice: sentence(found.advice), kind: "error" });
  if (!transport.video) {
    find("video").textContent = "";
    if (!view.after) showEmpty();
  }
}

const handlers = {
  hello,
  opened,
  problem,
  status: (event) => {
    if (transport.video) transport.state(event);
    cards.stats(event.stats);
  },
  warning: ({ text }) => notice(sentence(text)),
  restarted: ({ problem: found }) => {
    chain.allOff();
    notice(sentence(found.text), { advice: sentence(found.advice), kind: "error" });
  },
  message: ({ card, name, fields }) => {
    if (name === "watermark") watermarks.message(card, fields);
  },
  quality: (event) => quality.add(event),
};

onEvent.on((event) => handlers[event.type]?.(event));
onState.on((state, { opened: was, reason } = {}) => {
  document.body.classList.toggle("offline", state !== "open");
  if (state === "closed") {
    const advice = was ? "The page tries again." : "Open the address that the studio has printed.";
    notice(reason ? sentence(reason) : "There is no connection to the studio.", {
      advice,
      kind: "error",
    });
  } else {
    find("notices").replaceChildren();
  }
});
onPicture.on(async (data) => {
  try {
    const header = await view.show(data);
    transport.shown(header.seconds ?? 0);
    const since = made.get(header.revision);
    if (since) latencies.push(performance.now() - since);
    for (const revision of made.keys()) if (revision <= header.revision) made.delete(revision);
  } finally {
    send("ack");
  }
});
chain.onChange.on(sendChain);

for (const name of ["undo", "redo"]) setIcon(find(name), name);
find("undo").onclick = () => chain.undo();
find("redo").onclick = () => chain.redo();
find("reset").onclick = () => chain.resetAll();
find("open").onclick = () => openingDialog(open);
find("presets").onclick = () => presetsDialog(chain);
find("queue").onclick = () => queueDialog(chain, transport.video?.format ?? "I420");
find("export").disabled = true;
find("export").onclick = () => exportDialog(source, transport.video, chain, enqueue);
makeToolbar(view, showRegions);

const actions = [
  [[" "], "play or pause", () => transport.toggle()],
  [[","], "previous frame", () => send("step", { frames: -1 })],
  [["."], "next frame", () => send("step", { frames: 1 })],
  [
    ["ArrowLeft", "ArrowRight"],
    "back or forward by 5 seconds",
    (key) => transport.skip(key === "ArrowLeft" ? -5 : 5),
  ],
  [["l"], "loop", () => transport.setLoop(!transport.looped)],
  [["s"], "split", () => view.set({ mode: "split" })],
  [["d"], "side by side", () => view.set({ mode: "side" })],
  [["x"], "difference", () => view.set({ mode: "difference" })],
  [["b"], "blink", () => view.set({ mode: "blink" })],
  [["a"], "after only", () => view.set({ mode: "after" })],
  [["0"], "fit the view", () => view.setZoom("fit")],
  [["1", "2", "4", "8"], "zoom", (key) => view.setZoom(Number(key))],
  [["r"], "show regions", () => showRegions(!view.showRegions)],
  [["Escape"], "stop pointing", () => segment.use(null)],
  [["f"], "full screen", toggleFullScreen],
  [["o"], "open a video", () => openingDialog(open)],
  [["e"], "export", () => find("export").click()],
  [["Ctrl+z"], "undo", () => chain.undo()],
  [["Ctrl+Shift+z", "Ctrl+y"], "redo", () => chain.redo()],
  [["?"], "this list", () => helpDialog(actions)],
];
listen(actions);
find("help").onclick = () => helpDialog(actions);
// For the console, and for tests.
globalThis.studio = { chain, view, transport, pointer, latencies, open };
connect();

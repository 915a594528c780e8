// SPDX-License-Identifier: MIT OR Apache-2.0
// The queue of files.

import { request } from "./api.js";
import { notice, openDialog } from "./dialog.js";
import { clockText, find, h, iconButton } from "./dom.js";
import { proposedOutput } from "./exporting.js";
import { browser } from "./files.js";

const POLL = 1000;
const STATES = {
  waiting: "Waiting",
  running: "Running",
  done: "Done",
  failed: "Failed",
  cancelled: "Stopped",
};

function report(problem) {
  notice(problem.text ?? String(problem), { advice: problem.advice, kind: "error" });
}

/** Adds a request to the queue. */
export async function enqueue(asked) {
  try {
    await request("POST", "/api/jobs", { resume: true, ...asked });
    notice("Added to the queue");
    poll();
    return true;
  } catch (problem) {
    report(problem);
    return false;
  }
}

const post = (id, action) => request("POST", `/api/jobs/${id}/${action}`).then(poll).catch(report);
let shown = null;
let timer = 0;

/** Looks at the queue, again and again while it is shown or works. */
async function poll() {
  clearTimeout(timer);
  let jobs = [];
  try {
    jobs = await request("GET", "/api/jobs");
  } catch {
    return;
  }
  const open = jobs.filter(({ state }) => state === "waiting" || state === "running").length;
  find("queue").textContent = open ? `Queue (${open})` : "Queue";
  if (shown) show(jobs);
  if (shown || open) timer = setTimeout(poll, POLL);
}

function show(jobs) {
  const rows = jobs.map((job) => {
    const works = job.state === "running" || job.state === "waiting";
    const parts = [STATES[job.state]];
    if (job.step) parts.push(job.step);
    if (job.fps) parts.push(`${job.fps.toFixed(1)} fps`);
    if (job.eta_seconds) parts.push(`${clockText(job.eta_seconds).split(".")[0]} left`);
    const bar = h("progress", {
      max: 100,
      value: job.percent ?? 0,
      "aria-label": `Progress of ${job.title}`,
    });
    const tool = works
      ? h("button", { onclick: () => post(job.id, "cancel") }, "Stop")
      : job.state === "done"
        ? null
        : h(
            "button",
            { onclick: () => post(job.id, "again") },
            job.state === "cancelled" ? "Resume" : "Try again",
          );
    return h(
      "li",
      { class: `job ${job.state}` },
      h(
        "div",
        { class: "job-head" },
        h("strong", {}, job.title),
        h("small", {}, parts.join(" · ")),
        tool,
        iconButton("close", `Remove ${job.title} from the queue`, () =>
          request("DELETE", `/api/jobs/${job.id}`).then(poll).catch(report),
        ),
      ),
      bar,
      job.message ? h("p", { class: "problem" }, job.message) : null,
    );
  });
  shown.replaceChildren(
    ...(rows.length
      ? rows
      : [h("li", { class: "none" }, "The queue is empty. Add files here, or with Export.")]),
  );
}

/** Shows the queue. `chain` and `format` are those for files that are added. */
export function queueDialog(chain, format) {
  const list = h("ul", { class: "jobs" });
  const codec = h(
    "select",
    { "aria-label": "Codec" },
    h("option", { value: "h264" }, "H.264"),
    h("option", { value: "vp9" }, "VP9"),
    h("option", { value: "ffv1" }, "FFV1, lossless"),
  );
  const add = (path) => {
    const source = { kind: "file", path };
    return enqueue({
      source,
      format,
      cards: chain.cards,
      output: proposedOutput(source, "clean"),
      codec: codec.value,
      crf: null,
    });
  };
  const files = h(
    "details",
    {},
    h("summary", {}, "Add files with the present chain"),
    h("div", { class: "row" }, h("h3", {}, "Codec"), codec),
    browser({ videos: true, choose: add }),
  );
  shown = list;
  openDialog("Queue", h("div", {}, list, files), {
    onclose: () => {
      shown = null;
    },
  });
  poll();
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// Choosing files of the server.

import { request } from "./api.js";
import { openDialog } from "./dialog.js";
import { h } from "./dom.js";

let lastFolder = "";

export function setFolder(path) {
  lastFolder = path;
}

/** Returns the folder that was listed last. */
export const folder = () => lastFolder;

function bytesText(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit += 1) bytes /= 1000;
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

/** Returns a list of files in which one can go through folders. */
export function browser({ videos, choose }) {
  const path = h("p", { class: "where" });
  const list = h("ul", { class: "files" });
  const show = async (folderPath) => {
    let listing;
    try {
      listing = await request("GET", `/api/files?path=${encodeURIComponent(folderPath)}`);
    } catch (problem) {
      if (folderPath !== "") return show("");
      list.replaceChildren(h("li", { class: "none" }, `${problem.text}: ${problem.advice}`));
      return undefined;
    }
    lastFolder = listing.path;
    path.textContent = listing.path || "Folders of this studio";
    const row = (text, note, onclick, kind) =>
      h("li", {}, h("button", { class: kind, onclick }, h("span", {}, text), h("small", {}, note)));
    const shown = listing.entries.filter((entry) => entry.folder || entry.video || !videos);
    const rows = shown.map((entry) =>
      entry.folder
        ? row(entry.name, "", () => show(entry.path), "folder")
        : row(entry.name, bytesText(entry.bytes), () => choose(entry.path), "file"),
    );
    if (listing.parent !== null) rows.unshift(row("..", "", () => show(listing.parent), "folder"));
    if (!shown.length)
      rows.push(h("li", { class: "none" }, videos ? "No video here" : "No file here"));
    list.replaceChildren(...rows);
    return undefined;
  };
  show(lastFolder);
  return h("div", {}, path, list);
}

/** Lets the user choose a file; returns its path, or null. */
export function chooseFile({ title, videos }) {
  return new Promise((resolve) => {
    let chosen = null;
    const close = openDialog(
      title,
      browser({
        videos,
        choose: (path) => {
          chosen = path;
          close();
        },
      }),
      { onclose: () => resolve(chosen) },
    );
  });
}

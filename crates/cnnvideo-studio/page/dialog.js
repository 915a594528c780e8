// SPDX-License-Identifier: MIT OR Apache-2.0
// Dialogs and notices.

import { find, h, iconButton } from "./dom.js";

/** Opens the dialog with a title and content. Returns a function that closes it. */
export function openDialog(title, content, { wide = false, onclose } = {}) {
  const dialog = find("dialog");
  const close = () => dialog.close();
  if (dialog.open) dialog.close();
  dialog.classList.toggle("wide", wide);
  dialog.replaceChildren(
    h("header", {}, h("h2", { id: "dialog-title" }, title), iconButton("close", "Close", close)),
    h("div", { class: "content" }, content),
  );
  dialog.onclose = () => onclose?.();
  dialog.onclick = (event) => event.target === dialog && close();
  dialog.showModal();
  return close;
}

/** Shows a notice over the picture; one with advice stays until it is closed. */
export function notice(text, { advice = "", kind = "info" } = {}) {
  const notices = find("notices");
  const same = [...notices.children].find((node) => node.dataset.text === text);
  same?.remove();
  const node = h(
    "div",
    { class: `notice ${kind}` },
    h("p", {}, h("strong", {}, text), advice ? ` ${advice}` : ""),
    iconButton("close", "Close this notice", () => node.remove()),
  );
  node.dataset.text = text;
  notices.append(node);
  while (notices.children.length > 3) notices.firstChild.remove();
  if (kind === "info") setTimeout(() => node.remove(), 4000);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// The dialog that stores and loads chains.

import { request } from "./api.js";
import { notice, openDialog } from "./dialog.js";
import { h, iconButton } from "./dom.js";

const path = (name) => `/api/presets/${encodeURIComponent(name)}`;

function report(problem) {
  notice(problem.text ?? String(problem), { advice: problem.advice, kind: "error" });
}

export function presetsDialog(chain) {
  const list = h("ul", { class: "files" });
  const name = h("input", { type: "text", id: "preset-name", maxLength: 64, placeholder: "Name" });
  const load = (cards, title) => {
    if (!Array.isArray(cards))
      throw { text: "this file is no preset", advice: "choose another one" };
    const whole = chain.replace(cards);
    close();
    notice(
      whole ? `Loaded ${title}` : `Loaded ${title} without cards that this studio does not have`,
    );
  };
  const refresh = async () => {
    const names = await request("GET", "/api/presets").catch((problem) => (report(problem), []));
    list.replaceChildren(
      ...names.map((title) =>
        h(
          "li",
          { class: "with-tool" },
          h(
            "button",
            {
              class: "file",
              onclick: () =>
                request("GET", path(title))
                  .then((cards) => load(cards, title))
                  .catch(report),
            },
            h("span", {}, title),
          ),
          iconButton("close", `Remove ${title}`, () =>
            request("DELETE", path(title)).then(refresh).catch(report),
          ),
        ),
      ),
    );
    if (!names.length) list.append(h("li", { class: "none" }, "No preset is stored"));
  };
  const store = () =>
    request("PUT", path(name.value.trim()), chain.stored())
      .then(() => {
        name.value = "";
        return refresh();
      })
      .catch(report);
  const download = () => {
    const file = new Blob([JSON.stringify(chain.stored(), null, 2)], { type: "application/json" });
    const link = h("a", {
      href: URL.createObjectURL(file),
      download: `${name.value.trim() || "preset"}.json`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const upload = h("input", {
    type: "file",
    accept: ".json,application/json",
    hidden: true,
    onchange: async () => {
      const [file] = upload.files;
      if (!file) return;
      try {
        load(JSON.parse(await file.text()), file.name);
      } catch (problem) {
        report(
          problem.text ? problem : { text: "this file is no preset", advice: "choose another one" },
        );
      }
    },
  });
  const close = openDialog(
    "Presets",
    h(
      "div",
      {},
      list,
      h(
        "div",
        { class: "row" },
        h("h3", {}, "This chain"),
        name,
        h("button", { class: "main", onclick: store }, "Store"),
        h("button", { onclick: download }, "Download"),
      ),
      h(
        "div",
        { class: "row" },
        h("h3", {}, "From a file"),
        h("button", { onclick: () => upload.click() }, "Load a file"),
        upload,
      ),
    ),
  );
  refresh();
}

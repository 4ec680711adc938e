// The page: runs at the side, and beside them a new request, a run that is being written, or a
// finished one in the viewer of reports. The address names what is shown: #run=ID, or nothing.

import { el } from "../report/dom.js";
import { createApi } from "./api.js";
import { createComposer } from "./composer.js";
import { askToken, problem } from "./messages.js";
import { createRun } from "./run.js";
import { createSide } from "./side.js";

const root = document.getElementById("page");

start().catch((error) => {
  root.replaceChildren(
    el("main", { class: "alone" }, el("h1", {}, "Omnitrace"), problem(error, { again: reload })),
  );
});

function reload() {
  location.reload();
}

async function start() {
  const api = await createApi((wrong) => askToken(root, wrong));
  const about = await api.about();
  const work = el("div", { class: "work" });
  const side = createSide(api, about);
  root.replaceChildren(el("div", { class: "shell" }, side.node, work));

  let shown = null;
  const composer = createComposer(api, about, {
    sent: (id) => {
      location.hash = `run=${id}`;
    },
  });

  const show = () => {
    shown?.leave();
    const id = /^#run=([\w-]+)$/.exec(location.hash)?.[1] ?? null;
    side.choose(id);
    if (id === null) {
      shown = composer;
      document.title = "Omnitrace";
    } else {
      shown = createRun(id, api, about, { changed: side.refresh });
    }
    work.replaceChildren(shown.node);
    shown.enter();
  };
  addEventListener("hashchange", show);
  side.refresh();
  show();
}

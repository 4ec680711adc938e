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
  const again = () => location.reload();
  root.replaceChildren(
    el("main", { class: "alone" }, el("h1", {}, "Omnitrace"), problem(error, { again })),
  );
});

async function start() {
  const api = await createApi((wrong) => askToken(root, wrong));
  const about = await api.about();
  const work = el("div", { class: "work" });
  const runs = new Map();
  let shown = null;

  // A run that nobody follows is stopped, so every one that is active is followed, shown or not.
  const runOf = (id) => {
    if (!runs.has(id)) runs.set(id, createRun(id, api, about, { changed: () => side.refresh() }));
    return runs.get(id);
  };
  const side = createSide(api, about, (ids) => ids.forEach(runOf));
  const composer = createComposer(api, about, {
    sent: (id) => {
      location.hash = `run=${id}`;
    },
  });

  const show = () => {
    const id = /^#run=([\w-]+)$/.exec(location.hash)?.[1] ?? null;
    shown?.leave();
    for (const [other, run] of runs) {
      if (other === id || run.following()) continue;
      run.dispose();
      runs.delete(other);
    }
    shown = id === null ? composer : runOf(id);
    if (id === null) document.title = "Omnitrace";
    side.choose(id);
    side.refresh();
    work.replaceChildren(shown.node);
    shown.enter();
  };

  root.replaceChildren(el("div", { class: "shell" }, side.node, work));
  addEventListener("hashchange", show);
  show();
}

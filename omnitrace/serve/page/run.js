// One run: followed while it is written, and shown by the viewer of reports when it is done.

import { el } from "../report/dom.js";
import { createFinished } from "./finished.js";
import { createLive } from "./live.js";
import { problem } from "./messages.js";

const OVER = ["end", "failed", "cancelled"];
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export function createRun(id, api, about, { changed }) {
  const node = el("div", { class: "run" });
  const leaving = new AbortController();
  let live = null;
  let finished = null;
  let after = 0;

  const fail = (error) => {
    if (leaving.signal.aborted) return;
    const gone = error.status === 404;
    const title = gone ? "This run is gone" : null;
    const shown = gone
      ? { message: "runs are kept for the tab that made them, while the server has room for them" }
      : error;
    node.replaceChildren(
      el("main", { class: "alone" }, el("h1", {}, "Omnitrace"), problem(shown, { title, again: gone ? null : open })),
    );
  };

  const open = async () => {
    try {
      const run = await api.run(id);
      if (leaving.signal.aborted) return;
      if (run.view) {
        show(run);
        if (run.state !== "done") follow(); // it is being verified
      } else {
        live = createLive(run, { cancel: () => api.cancel(id) });
        node.replaceChildren(live.node);
        name(run.title);
        await follow();
      }
    } catch (error) {
      fail(error);
    }
  };

  const name = (title) => {
    document.title = title ? `${title} · Omnitrace` : "Omnitrace";
  };

  const show = (run) => {
    live = null;
    name(run.title);
    if (finished) finished.update(run);
    else {
      finished = createFinished(run, api, { verify: follow });
      node.replaceChildren(finished.node);
    }
    changed();
  };

  // Follow events until the run is over; a lost connection goes on where it broke off.
  const follow = async () => {
    let tries = 0;
    for (;;) {
      try {
        for await (const event of api.events(id, after, leaving.signal)) {
          if (tries) live?.lost(false);
          tries = 0;
          after = event.id ?? after;
          if (leaving.signal.aborted) return;
          (finished ?? live).on(event);
          if (event.type === "started" || event.type === "cancelled") changed();
          if (!OVER.includes(event.type)) continue;
          if (event.type === "end") show(await api.run(id));
          else changed();
        }
        const run = await api.run(id);
        if (!["queued", "running"].includes(run.state)) {
          if (run.view && !finished) show(run);
          return;
        }
      } catch (error) {
        if (error.name === "AbortError" || leaving.signal.aborted) return;
        if (error.status >= 400) throw error;
        live?.lost(true);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]));
      tries += 1;
      if (leaving.signal.aborted) return;
    }
  };

  const escape = (event) => event.key === "Escape" && live?.clear();

  return {
    node,
    enter() {
      addEventListener("keydown", escape);
      node.replaceChildren(el("main", { class: "alone" }, el("p", { class: "busy", role: "status" }, "Loading…")));
      open();
    },
    leave() {
      leaving.abort();
      removeEventListener("keydown", escape);
      finished?.leave();
    },
  };
}

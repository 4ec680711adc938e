// One run: followed while it is written, and shown by the viewer of reports when it is done.

import { el } from "../report/dom.js";
import { createFinished } from "./finished.js";
import { createLive } from "./live.js";
import { problem } from "./messages.js";

const ACTIVE = ["queued", "running", "verifying"];
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

// `changed` is called when the list of runs is out of date.
export function createRun(id, api, about, { changed }) {
  const loading = el("p", { class: "busy", role: "status" }, "Loading…");
  const node = el("div", { class: "run", tabindex: "-1" }, alone(loading));
  const disposed = new AbortController();
  let entered = false;
  let title = "";
  let live = null;
  let finished = null;
  let after = 0;
  let follows = true;

  const fail = (error) => {
    if (disposed.signal.aborted) return;
    const gone = error.status === 404;
    const shown = gone
      ? { message: "A run is kept for the tab that made it, while the server has room for it." }
      : error;
    const box = problem(shown, {
      title: gone ? "This run is not here" : null,
      again: gone ? null : open,
    });
    node.replaceChildren(alone(el("h1", {}, "Omnitrace"), box));
  };

  const name = (run) => {
    title = run.title;
    if (entered) document.title = title ? `${title} · Omnitrace` : "Omnitrace";
  };

  const show = (run) => {
    name(run);
    const focused = node.contains(document.activeElement);
    if (run.view && finished) finished.update(run);
    else if (run.view) {
      live = null;
      finished = createFinished(run, api, about, { verify: follow });
      node.replaceChildren(finished.node);
      if (entered) finished.enter();
    } else if (!live) {
      live = createLive(run, { cancel: () => api.cancel(id) });
      node.replaceChildren(live.node);
    }
    // What had the focus is gone: keys go on from here.
    if (focused && !node.contains(document.activeElement)) focus();
  };

  const focus = () => node.focus({ preventScroll: true });

  const open = async () => {
    try {
      const run = await api.run(id);
      show(run);
      if (!run.view || ACTIVE.includes(run.state)) await follow();
    } catch (error) {
      fail(error);
    } finally {
      follows = false;
    }
  };

  // Follow events until no more come; after a lost connection from where it broke off.
  const follow = async () => {
    follows = true;
    for (let tries = 0; !disposed.signal.aborted; tries += 1) {
      try {
        const events = await api.events(id, after, disposed.signal);
        live?.lost(false);
        for await (const event of events) {
          tries = 0;
          after = event.id ?? after;
          (live ?? finished).on(event);
          if (event.type === "end") show(await api.run(id));
          if (["started", "end", "failed", "cancelled"].includes(event.type)) changed();
        }
        const run = await api.run(id);
        if (!ACTIVE.includes(run.state)) {
          if (run.view && !finished) show(run);
          break;
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status >= 400) throw error;
        live?.lost(true);
      }
      await pause(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
    }
    follows = false;
  };

  const escape = (event) => event.key === "Escape" && live?.clear();
  open();

  return {
    node,
    following: () => follows,
    enter() {
      entered = true;
      name({ title });
      addEventListener("keydown", escape);
      finished?.enter();
      focus();
    },
    leave() {
      entered = false;
      removeEventListener("keydown", escape);
      finished?.leave();
    },
    dispose: () => disposed.abort(),
  };
}

function alone(...children) {
  return el("main", { class: "alone" }, ...children);
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// A run that is done: the viewer of reports, and what can be done with the trace without a new run.

import { el, icon } from "../report/dom.js";
import { mount } from "../report/viewer.js";
import { problem } from "./messages.js";
import { createSelection } from "./selection.js";

export function createFinished(run, api, about, { verify }) {
  const root = el("div", { class: "viewer-root" });
  const said = el("div", { class: "said-above" });
  const status = el("span", { class: "state", role: "status" });
  const choose = el(
    "button",
    { class: "button", type: "button", "aria-expanded": "false", "aria-controls": "selection" },
    icon("tune"),
    el("span", {}, "Selection"),
  );
  const checkName = el("span", {}, "Verify");
  const check = el("button", { class: "button", type: "button" }, icon("check"), checkName);
  const files = downloads(about, async (file) => {
    try {
      await api.download(run.run, file, reselected ? run.selection : null);
    } catch (error) {
      report(error, "Not downloaded");
    }
  });
  const tools = el("div", { class: "tools" }, choose, check, files.node, status);
  const selection = createSelection(run, {
    apply: async (config) => {
      run = { ...run, ...(await api.reselect(run.run, config)) };
      reselected = true;
      draw();
    },
    close: () => {
      open(false);
      choose.focus();
    },
  });
  const node = el("div", { class: "finished" }, root, selection.node, said);
  let viewer = null;
  let chosen = null;
  let shown = false;
  let verifying = false;
  let reselected = false;

  // Only what is shown is mounted: the viewer listens to keys.
  const draw = () => {
    if (!shown) return;
    const focused = tools.contains(document.activeElement) ? document.activeElement : null;
    hide();
    viewer = mount(root, { traces: [run.view], compare: null }, { tools, chosen });
    focused?.focus();
  };

  const hide = () => {
    if (!viewer) return;
    chosen = viewer.chosen();
    viewer.unmount();
    viewer = null;
  };

  const report = (error, title) => {
    said.replaceChildren(problem(error, { title, close: () => said.replaceChildren() }));
  };

  const open = (wanted) => {
    choose.setAttribute("aria-expanded", String(wanted));
    node.classList.toggle("choosing", wanted);
    selection.node.hidden = !wanted;
    if (wanted) selection.focus();
  };
  choose.addEventListener("click", () => open(choose.getAttribute("aria-expanded") !== "true"));

  const say = (text, state) => {
    const dot = el("i", { class: "state-dot", "aria-hidden": "true" });
    status.replaceChildren(...(text ? [dot, text] : []));
    status.dataset.state = state;
  };

  // The button verifies, and while that lasts stops it.
  const mark = (text = "Verifying") => {
    checkName.textContent = verifying ? "Stop" : "Verify";
    check.firstElementChild.replaceWith(icon(verifying ? "stop" : "check"));
    check.hidden = (run.verified || !run.can_verify) && !verifying;
    check.disabled = false;
    if (verifying) say(text, "running");
    else say(run.verified ? "Verified" : "", "done");
  };

  check.addEventListener("click", async () => {
    const stops = verifying;
    check.disabled = true;
    try {
      if (stops) await api.cancel(run.run);
      else {
        await api.verify(run.run);
        verifying = true;
        mark();
        await verify();
      }
    } catch (error) {
      verifying = stops;
      mark();
      report(error, stops ? "Not stopped" : "Not verified");
    }
  });

  const update = (now) => {
    run = now;
    reselected = false;
    verifying = now.state === "verifying";
    mark();
    selection.update(now);
    draw();
  };
  update(run);
  open(false);

  return {
    node,
    update,
    on({ type, data }) {
      if (type === "failed") report(data.error, "Not verified");
      if (type === "verifying" || type === "queued") verifying = true;
      if (type === "failed" || type === "cancelled") verifying = false;
      const waits = data.position > 0;
      mark(waits ? `Waiting, ${data.position} before it` : "Verifying");
    },
    enter() {
      shown = true;
      draw();
    },
    leave() {
      hide();
      shown = false;
    },
  };
}

// A menu of files to save.
function downloads(about, save) {
  const list = el("ul", {});
  const node = el(
    "details",
    { class: "menu" },
    el("summary", { class: "button" }, icon("download"), el("span", {}, "Download")),
    list,
  );
  const close = (event) => {
    if (!node.contains(event.target)) node.open = false;
  };
  node.addEventListener("toggle", () => {
    if (node.open) document.addEventListener("pointerdown", close);
    else document.removeEventListener("pointerdown", close);
  });
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !node.open) return;
    event.stopPropagation();
    node.open = false;
    node.querySelector("summary").focus();
  });
  node.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !node.contains(event.relatedTarget)) node.open = false;
  });
  const item = (name, help, path) => {
    const button = el(
      "button",
      { type: "button" },
      el("b", {}, name),
      el("span", { class: "quiet" }, help),
    );
    button.addEventListener("click", () => {
      node.open = false;
      save(path);
    });
    return el("li", {}, button);
  };
  list.append(
    item("Trace", "all of it, for omnitrace", "trace.omnitrace"),
    item("Report", "one HTML file", "report.html"),
    ...(about.exports ?? []).map(({ name, help }) => item(name, help, `export/${name}`)),
  );
  return { node };
}

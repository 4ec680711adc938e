// A run that is done: the viewer of reports, and what can be done with the trace without a new run.

import { el, icon } from "../report/dom.js";
import { mount } from "../report/viewer.js";
import { problem } from "./messages.js";
import { createSelection } from "./selection.js";

export function createFinished(run, api, { verify }) {
  const root = el("div", { class: "viewer-root" });
  const said = el("div", { class: "said-above" });
  const status = el("span", { class: "state", role: "status" });
  const choose = el(
    "button",
    { class: "button", type: "button", "aria-expanded": "false", "aria-controls": "selection" },
    icon("tune"),
    el("span", {}, "Selection"),
  );
  const check = el("button", { class: "button", type: "button" }, icon("check"), el("span", {}, "Verify"));
  const files = downloads(run, api, (error) => report(error, "Not downloaded"));
  const tools = el("div", { class: "tools" }, choose, check, files.node, status);
  const selection = createSelection(run, {
    apply: async (config) => draw((await api.reselect(run.run, config)).view),
    close: () => {
      open(false);
      choose.focus();
    },
  });
  const node = el("div", { class: "finished" }, root, selection.node, said);
  let viewer = null;

  const draw = (view) => {
    const chosen = viewer?.chosen() ?? null;
    const focus = tools.contains(document.activeElement) ? document.activeElement : null;
    viewer?.unmount();
    viewer = mount(root, view, { tools, chosen });
    focus?.focus();
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
    status.replaceChildren(
      ...(text ? [el("i", { class: "state-dot", "aria-hidden": "true" }), text] : []),
    );
    status.dataset.state = state;
  };

  check.addEventListener("click", async () => {
    check.disabled = true;
    say("Verification is asked for", "running");
    try {
      await api.verify(run.run);
      await verify();
    } catch (error) {
      say("", "done");
      check.disabled = false;
      report(error, "Not verified");
    }
  });

  const update = (now) => {
    run = now;
    check.hidden = now.verified || now.can_verify === false;
    check.disabled = false;
    say(now.verified ? "Verified" : "", "done");
    files.update(now);
    selection.update(now);
    draw(now.view);
  };
  update(run);
  open(false);

  return {
    node,
    update,
    on(event) {
      if (event.type === "verifying") {
        const { done, of, position } = event.data;
        check.disabled = true;
        const waits = position > 0 ? `Waiting, ${position} before it` : "Verifying";
        say(of ? `Verifying, ${done} of ${of}` : waits, "running");
      } else if (event.type === "failed") {
        say("", "done");
        check.disabled = false;
        report(event.data.error, "Not verified");
      }
    },
    leave: () => viewer?.unmount(),
  };
}

// A menu of files to save.
function downloads(run, api, fail) {
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
  const item = (id, text, path, file) => {
    const button = el("button", { type: "button" }, text, el("span", { class: "quiet" }, file));
    button.addEventListener("click", async () => {
      node.open = false;
      try {
        await api.download(id, path, file);
      } catch (error) {
        fail(error);
      }
    });
    return el("li", {}, button);
  };
  return {
    node,
    update(now) {
      const exports = now.exports ?? [];
      list.replaceChildren(
        item(now.run, "Trace", "trace.omnitrace", "trace.omnitrace"),
        item(now.run, "Report", "report.html", "report.html"),
        ...exports.map(({ format, name, file }) =>
          item(now.run, name ?? format, `export/${format}`, file ?? format),
        ),
      );
    },
  };
}

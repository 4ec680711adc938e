// The side of the page: its name, the recent runs of this tab, and which model answers.

import { el, icon, iconButton, named } from "../report/dom.js";
import { themeButton } from "../report/header.js";
import { count } from "../report/format.js";

const THEME = "omnitrace-theme";
const POLL_MS = 4000; // while a run that is not shown waits or writes
const ACTIVE = ["queued", "running", "verifying"];
const STATES = {
  queued: "waiting",
  running: "writing",
  verifying: "verifying",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};

// `active(ids)` is told of the runs that wait for the model or have it.
export function createSide(api, about, active) {
  const list = el("ul", { class: "runs" });
  const none = el(
    "p",
    { class: "quiet none" },
    "Your runs appear here. They stay as long as this tab and the server.",
  );
  const toggle = el(
    "button",
    {
      class: "button ghost toggle",
      type: "button",
      "aria-expanded": "false",
      "aria-controls": "side-body",
    },
    icon("list"),
    "Runs",
  );
  const mark = el("img", { src: "static/page/icon.svg", alt: "", width: 22, height: 22 });
  const theme = localStorage.getItem(THEME);
  if (theme) document.documentElement.dataset.theme = theme;
  const node = el(
    "aside",
    { class: "side", "aria-label": "Omnitrace" },
    el(
      "div",
      { class: "side-top" },
      el("a", { class: "name", href: "#" }, mark, "Omnitrace"),
      el(
        "a",
        { class: "button ghost new", href: "#", "aria-label": "New request" },
        icon("plus"),
        el("span", {}, "New", el("span", { class: "wide" }, " request")),
      ),
      toggle,
      themeButton((chosen) => localStorage.setItem(THEME, chosen)),
    ),
    el(
      "div",
      { class: "side-body", id: "side-body" },
      el("nav", { "aria-label": "Runs" }, el("h2", {}, "Recent runs"), none, list),
      el(
        "dl",
        { class: "server" },
        el("div", {}, el("dt", {}, "Model"), el("dd", {}, named(about.model))),
        el("div", {}, el("dt", {}, "Omnitrace"), el("dd", {}, named(about.version))),
      ),
    ),
  );
  toggle.addEventListener("click", () => open(toggle.getAttribute("aria-expanded") !== "true"));
  const open = (wanted) => {
    toggle.setAttribute("aria-expanded", String(wanted));
    node.classList.toggle("open", wanted);
  };
  node.addEventListener("click", (event) => event.target.closest("a") && open(false));
  node.addEventListener("keydown", (event) => event.key === "Escape" && open(false));

  let chosen = null;
  let timer = null;
  let runs = [];

  const markChosen = () => {
    for (const link of list.querySelectorAll("a")) {
      if (link.hash === `#run=${chosen}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  };

  const refresh = async () => {
    clearTimeout(timer);
    try {
      runs = (await api.runs()).runs;
    } catch {
      return; // what is shown says so by itself
    }
    none.hidden = runs.length > 0;
    const focused = list.contains(document.activeElement) ? document.activeElement.hash : null;
    list.replaceChildren(...runs.map((run) => item(run)));
    markChosen();
    active(runs.filter((run) => ACTIVE.includes(run.state)).map((run) => run.run));
    if (focused) list.querySelector(`a[href="${focused}"]`)?.focus();
    if (runs.some((run) => ACTIVE.includes(run.state))) timer = setTimeout(refresh, POLL_MS);
  };

  const item = (run) => {
    const facts = [STATES[run.state] ?? run.state, run.tokens ? count(run.tokens, "token") : null];
    return el(
      "li",
      {},
      el(
        "a",
        { href: `#run=${run.run}`, "data-state": run.state },
        el("span", { class: "run-title", dir: "auto" }, run.title || "Untitled"),
        el(
          "span",
          { class: "quiet run-facts" },
          el("i", { class: "state-dot", "aria-hidden": "true" }),
          [timeOf(run.created), ...facts].filter(Boolean).join(" · "),
        ),
      ),
      iconButton("bin", `Remove the run: ${run.title || "Untitled"}`, () => remove(run.run), {
        title: "Remove",
      }),
    );
  };

  const remove = async (id) => {
    await api.remove(id).catch(() => {}); // it is gone already
    if (id === chosen) location.hash = "";
    await refresh();
    node.querySelector(".new").focus();
  };

  return {
    node,
    refresh,
    choose(id) {
      chosen = id;
      markChosen();
    },
  };
}

function timeOf(created) {
  const time = new Date(typeof created === "number" ? 1000 * created : created);
  if (Number.isNaN(time.getTime())) return null;
  return time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

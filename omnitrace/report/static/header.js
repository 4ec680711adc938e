// The head of the page: which trace, what made it, what to beware of, and the tools.

import { choice, el, icon, iconButton, named, isolated } from "./dom.js";

// What made a trace, and what to beware of; the whole provenance is folded.
export function about(trace, number) {
  const facts = [
    ["Model", trace.model],
    ["Signal", trace.signal],
    ["Sources", trace.selection],
  ].filter(([, value]) => value);
  const alarms = trace.warnings.filter((warning) => warning.level === "warning");
  return el(
    "details",
    { class: "about" },
    el(
      "summary",
      {},
      el("h1", { dir: "auto" }, trace.title || `Trace ${number + 1}`),
      el(
        "span",
        { class: "facts" },
        facts.map(([name, value]) =>
          el("span", {}, el("span", { class: "quiet" }, `${name} `), named(value)),
        ),
      ),
      el(
        "span",
        { class: "warnings" },
        trace.warnings.map(({ level, text }) => el("span", { class: level }, text)),
      ),
      alarms.length
        ? el("span", { class: "alarms", "aria-hidden": "true" }, `\u26a0 ${alarms.length}`)
        : null,
      el("span", { class: "more" }, "Details"),
    ),
    el(
      "div",
      { class: "details" },
      trace.warnings.map(({ level, text }) => el("p", { class: `narrow-only ${level}` }, text)),
      trace.notes.map((note) => el("p", { class: "note" }, isolated(note))),
      el("h2", {}, "Provenance"),
      el(
        "dl",
        { class: "provenance" },
        trace.provenance.map(([name, value]) =>
          el("div", {}, el("dt", {}, name), el("dd", {}, named(value))),
        ),
      ),
    ),
  );
}

// The bar on top: `show(number)` changes the trace, `look(name)` the view. `tools` are those of a
// page around it, which has a name and a theme of its own.
export function topBar(traces, { show, look, search, views, tools }) {
  const picker = traces.length > 1 ? tracePicker(traces, show) : null;
  const tabs = choice("View", views, Object.keys(views)[0], look);
  tabs.classList.add("views");
  const node = el(
    "header",
    { class: "top" },
    tools ?? el("span", { class: "brand" }, "Omnitrace"),
    picker?.node,
    el("span", { class: "space" }),
    search.node,
    tabs,
    tools ? null : themeButton(),
  );
  const press = (name) => {
    for (const each of tabs.children)
      each.setAttribute("aria-pressed", String(each.dataset.value === name));
  };
  return { node, press, choose: (number) => picker?.choose(number) };
}

function tracePicker(traces, show) {
  const options = traces.map((trace, k) =>
    el("option", { value: k }, `${k + 1}. ${trace.title || `Trace ${k + 1}`}`),
  );
  const list = el("select", { "aria-label": "Trace" }, options);
  const go = (step) => {
    const next = Number(list.value) + step;
    if (next < 0 || next >= traces.length) return;
    list.value = String(next);
    show(next);
  };
  list.addEventListener("change", () => show(Number(list.value)));
  const node = el(
    "div",
    { class: "picker" },
    iconButton("previous", "Previous trace", () => go(-1)),
    list,
    iconButton("next", "Next trace", () => go(1)),
  );
  return {
    node,
    choose(number) {
      list.value = String(number);
    },
  };
}

// Light, dark, or as the system has it. Nothing is stored: a file has nowhere to store it.
export function themeButton(changed = () => {}) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = iconButton("theme", "Light or dark", () => {
    const root = document.documentElement;
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    changed(root.dataset.theme);
  });
  return button;
}

export function searchField({ find, step, clear }) {
  const field = el("input", {
    type: "search",
    placeholder: "Search",
    "aria-label": "Search in sources and response",
    autocomplete: "off",
    spellcheck: "false",
  });
  const found = el("span", { class: "quiet found", role: "status" });
  const say = ({ at, count }) => {
    found.textContent = field.value.trim() ? (count ? `${at + 1} of ${count}` : "none") : "";
  };
  field.addEventListener("input", () => say(find(field.value)));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") say(step(event.shiftKey ? -1 : 1));
    if (event.key === "Escape") {
      field.value = "";
      clear();
      say({ at: 0, count: 0 });
      event.stopPropagation();
    }
  });
  const node = el("label", { class: "search" }, icon("search"), field, found);
  return { node, field, again: () => say(find(field.value, false)) };
}

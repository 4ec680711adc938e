// How a request is traced: the signal at hand, units and the rest folded.

import { el } from "../report/dom.js";
import { sentence } from "./messages.js";

const NAMES = { text: "Texts", image: "Images", audio: "Audio", video: "Video" };

export function createOptions(about) {
  const byName = new Map(about.signals.map((signal) => [signal.name, signal]));
  const signal = list(
    about.signals.map(({ name }) => [name, name]),
    { id: "signal", "aria-describedby": "signal-help" },
  );
  signal.value = about.default_signal;
  const help = el("p", { class: "quiet", id: "signal-help" });
  const explain = () => {
    const chosen = byName.get(signal.value);
    const late = chosen && !chosen.streams ? " Its supports come when the response has ended." : "";
    help.textContent = (chosen?.help ? sentence(chosen.help) : "") + late;
  };
  signal.addEventListener("change", explain);
  explain();

  const units = new Map();
  const rows = new Map();
  for (const [kind, choices] of Object.entries(about.unitizers ?? {})) {
    if (!choices.length) continue;
    const names = choices.map((each) => (typeof each === "string" ? { name: each } : each));
    const field = list(
      names.map(({ name, help: says }) => [name, says ? `${name}: ${says}` : name]),
      { id: `units-${kind}` },
    );
    units.set(kind, field);
    rows.set(kind, row(`units-${kind}`, NAMES[kind] ?? kind, field));
  }
  const none = el("p", { class: "quiet" }, "Add a file or a text to choose how it is cut.");

  const tokens = number("tokens", { min: 1, max: about.limits?.new_tokens });
  const seed = number("seed", { min: 0 });
  const verify = el("input", { type: "checkbox", id: "verify" });
  verify.checked = Boolean(about.verifies);

  const node = el(
    "details",
    { class: "options" },
    el("summary", {}, "Options"),
    el(
      "div",
      { class: "options-body" },
      el(
        "fieldset",
        {},
        el("legend", {}, "Source units"),
        el("p", { class: "quiet" }, "The smallest thing that can be cited."),
        none,
        [...rows.values()],
      ),
      el(
        "fieldset",
        {},
        el("legend", {}, "Response"),
        row("tokens", "Most new tokens", tokens),
        row("seed", "Seed", seed),
        el(
          "label",
          { class: "check" },
          verify,
          el("span", {}, "Verify by ablation when the response has ended"),
        ),
      ),
    ),
  );
  const signalNode = el(
    "div",
    { class: "signal" },
    el("label", { for: "signal" }, "Signal"),
    signal,
    help,
  );

  return {
    node,
    signal: signalNode,
    // Units are offered for what is in the request.
    offer(kinds) {
      for (const [kind, each] of rows) each.hidden = !kinds.has(kind);
      none.hidden = [...rows.keys()].some((kind) => kinds.has(kind));
    },
    value(kinds) {
      const sources = {};
      for (const [kind, field] of units) if (kinds.has(kind)) sources[kind] = field.value;
      return {
        signal: signal.value,
        verify: verify.checked,
        ...(Object.keys(sources).length ? { sources } : {}),
        ...(tokens.value ? { max_new_tokens: Number(tokens.value) } : {}),
        ...(seed.value ? { seed: Number(seed.value) } : {}),
      };
    },
  };
}

function list(choices, attributes) {
  return el(
    "select",
    attributes,
    choices.map(([value, text]) => el("option", { value }, text)),
  );
}

function number(id, { min, max }) {
  return el("input", {
    type: "number",
    id,
    min,
    max,
    step: "1",
    inputmode: "numeric",
    placeholder: max ? `up to ${max}` : "none",
  });
}

function row(id, name, field) {
  return el("div", { class: "option-row" }, el("label", { for: id }, name), field);
}

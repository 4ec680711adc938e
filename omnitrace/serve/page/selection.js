// The rules by which supports are chosen, changed at once and without the model.

import { el, iconButton } from "../report/dom.js";
import { problem } from "./messages.js";

const PAUSE_MS = 150; // after which a change is applied

// By name: what it is called, its range and step, and what it does.
const VOTES = {
  coverage: ["Coverage", [0.05, 1, 0.05], "Share of the votes at which the selection stops."],
  p_min: [
    "Least share",
    [0, 0.5, 0.01],
    "A source with a smaller share of the votes is left out, unless its run is long.",
  ],
  run_min: [
    "Least run",
    [0, 0.5, 0.01],
    "A source with a shorter run of votes is left out, unless its share is large.",
  ],
  min_grounding: [
    "Least grounding",
    [0, 1, 0.01],
    "A statement with less of its signal on sources is ungrounded.",
  ],
};
const WEIGHTS = {
  alpha: [
    "Share against run",
    [0, 1, 0.05],
    "1 ranks sources by their share of the votes alone, 0 by their longest run.",
  ],
  gamma: ["Confidence", [0, 8, 0.5], "How much more a confident word counts; 0 counts all alike."],
};
const EFFECTS = {
  effect_min: [
    "Least effect",
    [0, 1, 0.05],
    "A source with a smaller share of the largest effect is left out.",
  ],
  verdict_min: [
    "Least nats",
    [0.1, 5, 0.1],
    "With a weaker strongest effect a statement has no source.",
  ],
};
const RULES = [
  ["gate", "Words that repeat the question do not vote"],
  ["position_weights", "Nouns and numbers weigh more"],
  ["confidence_weight", "Confident words weigh more"],
  ["runs", "Runs of words count"],
  ["rollout", "Follow the model’s own earlier words"],
  ["fallback", "The best source stays where all would be left out"],
];

export function createSelection(run, { apply, close }) {
  let config = {};
  let defaults = null;
  let timer = null;
  const failure = el("div", {});
  const fields = new Map();

  const change = (name, value) => {
    config = { ...config, [name]: value };
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE_MS);
  };

  const send = async () => {
    failure.replaceChildren();
    try {
      await apply(config);
    } catch (error) {
      failure.replaceChildren(problem(error, { title: "Not applied" }));
    }
  };

  const slider = ([name, [text, [min, max, step], help]]) => {
    const id = `rule-${name}`;
    const shown = el("output", { for: id });
    const limits = { min, max, step, "aria-describedby": `${id}-help` };
    const field = el("input", { type: "range", id, ...limits });
    const show = () => {
      shown.textContent = Number(field.value).toFixed(step < 0.1 ? 2 : 1);
    };
    field.addEventListener("input", () => {
      show();
      change(name, Number(field.value));
    });
    fields.set(name, (value) => {
      field.value = String(value);
      show();
    });
    return el(
      "div",
      { class: "rule" },
      el("label", { for: id }, text),
      shown,
      field,
      el("p", { class: "quiet", id: `${id}-help` }, help),
    );
  };

  const tick = ([name, text]) => {
    const field = el("input", { type: "checkbox" });
    field.addEventListener("change", () => change(name, field.checked));
    fields.set(name, (value) => {
      field.checked = value;
    });
    return el("label", { class: "check" }, field, el("span", {}, text));
  };

  const pick = (name, text, choices) => {
    const id = `rule-${name}`;
    const field = el(
      "select",
      { id },
      Object.entries(choices).map(([value, says]) => el("option", { value }, says)),
    );
    field.addEventListener("change", () => change(name, field.value));
    fields.set(name, (value) => {
      field.value = value;
    });
    return el("div", { class: "option-row" }, el("label", { for: id }, text), field);
  };

  const most = el("input", {
    type: "number",
    id: "rule-most",
    min: 1,
    max: 99,
    step: 1,
    placeholder: "any",
  });
  most.addEventListener("input", () => {
    if (most.checkValidity()) change("max_supports", most.value ? Number(most.value) : null);
  });
  fields.set("max_supports", (value) => {
    most.value = value ?? "";
  });

  const group = (name, rules) =>
    el("fieldset", {}, el("legend", {}, name), Object.entries(rules).map(slider));
  const byEffect = group("By effect", EFFECTS);
  const byVotes = group("By votes", VOTES);
  const rules = el(
    "details",
    { class: "more-rules" },
    el("summary", {}, "More rules"),
    Object.entries(WEIGHTS).map(slider),
    RULES.map(tick),
    pick("compete", "Sources compete", {
      joint: "all together",
      "per-modality": "within a modality",
    }),
    pick("assign", "Mass of a source", {
      "unit-sum": "sum over its tokens",
      "unit-mean": "mean over its tokens",
      "token-max": "its best token",
    }),
  );
  const reset = el("button", { class: "button", type: "button" }, "As it was");
  reset.addEventListener("click", () => {
    set(defaults);
    send();
  });
  const title = el("h2", { tabindex: "-1" }, "Selection");
  const node = el(
    "aside",
    { class: "selection", id: "selection", "aria-label": "Selection", hidden: true },
    el("header", { class: "pane-head" }, title, iconButton("close", "Close the selection", close)),
    el(
      "form",
      { class: "selection-body" },
      el("p", { class: "quiet" }, "Supports are chosen again at once. The model does not run."),
      el("div", { class: "option-row" }, el("label", { for: "rule-most" }, "Most supports"), most),
      byEffect,
      byVotes,
      rules,
      failure,
      el("p", { class: "row" }, reset),
    ),
  );
  node.addEventListener("submit", (event) => event.preventDefault());
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  });

  const set = (values) => {
    config = { ...values };
    for (const [name, show] of fields) if (name in config) show(config[name]);
  };

  return {
    node,
    focus: () => title.focus(),
    update(now) {
      defaults ??= now.selection;
      set(now.selection);
      const effects = now.view.selection !== "by votes, not verified";
      byEffect.hidden = !effects;
      // Votes decide only where no effect was measured.
      if (effects) rules.firstElementChild.after(byVotes);
      else rules.before(byVotes);
    },
  };
}

// What the words and figures mean, each said once.

import { el } from "./dom.js";

const WORDS = {
  strong:
    "With this source the model was at least ten times as likely to write the statement " +
    "(2.3 nats). Where no effect was measured: the source won at least half of its votes.",
  weak: "The source supports the statement by less than that.",
  "no source found":
    "No source accounts for the statement: it may be the model\u2019s own knowledge, or invented.",
  "against the sources": "The model would rather write the statement without the sources.",
};

const FIGURES = {
  nats:
    "How far the log-probability of the statement falls when the source is hidden: " +
    "1 nat is a factor of 2.7, 2.3 nats are ten. Brackets give an interval.",
  share: "The part of all support for the statement that this source has.",
  signal:
    "The part of the model\u2019s signal, such as its attention, that lies on the source: where it looked, which is not yet what it used.",
  "necessary, sufficient, shared":
    "Missed when it alone is hidden; enough when it alone is left; or one of several that support the statement only together.",
};

const TRUTH = {
  right: "The named source shows the labelled evidence.",
  spurious: "A source is named that shows none of it.",
  missed: "Labelled evidence that no named source shows.",
};

export const SUPPORT_KINDS = {
  necessary: "missed when it alone is hidden",
  sufficient: "enough on its own",
  shared: "supports it only together with others",
};

export function guide(trace) {
  const known = trace.spans.some((span) => span.truth);
  return el(
    "details",
    { class: "guide" },
    el("summary", {}, "What the words and figures mean"),
    list(WORDS),
    list(FIGURES),
    known ? list(TRUTH) : null,
  );
}

function list(entries) {
  return el(
    "dl",
    {},
    Object.entries(entries).map(([name, text]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, text)),
    ),
  );
}

// One statement of the response: its text or its words, its markers, and how firmly it stands.

import { el } from "./dom.js";
import { sharesByKind } from "./state.js";

export function statement(trace, index, words) {
  const span = trace.spans[index];
  const said = words ? tokensOf(trace, index) : textOf(span, index);
  return el(
    "div",
    { class: "statement", "data-statement": index, "data-strength": span.strength },
    el(
      "span",
      { class: "claim" },
      said,
      span.supports.length
        ? el(
            "span",
            { class: "refs" },
            "\u2060",
            span.supports.map((s) => marker(trace, s)),
          )
        : null,
    ),
    gauge(trace, span),
  );
}

function textOf(span, index) {
  return el(
    "span",
    {
      class: "said",
      role: "button",
      tabindex: "-1",
      "aria-pressed": "false",
      dir: "auto",
      "data-span": index,
    },
    span.text,
  );
}

function tokensOf(trace, index) {
  const [first, last] = trace.spans[index].tokens;
  const said = el("span", { class: "said words", dir: "auto", "data-words": index });
  for (let token = first; token < last; token += 1) {
    const text = trace.tokens.text[token];
    if (!text) continue;
    const letters = text.trimStart();
    const gap = text.slice(0, text.length - letters.length);
    const word = el(
      "span",
      {
        class: "word",
        role: "button",
        tabindex: "-1",
        "aria-pressed": "false",
        "data-token": token,
      },
      letters || text,
    );
    word.style.setProperty("--share", trace.tokens.grounding[token]);
    said.append(...(gap && letters && token > first ? [gap, word] : [word]));
  }
  return said;
}

const MARKS = { true: ["\u2713", "right"], false: ["\u2717", "spurious"] };

function marker(trace, support) {
  const unit = trace.units[support.unit];
  const [sign, word] = MARKS[support.right] ?? ["", ""];
  return el(
    "button",
    {
      class: `ref k-${unit.kind} ${word}`,
      type: "button",
      tabindex: "-1",
      "data-ref": support.unit,
      "aria-label": `Source ${unit.number}, ${unit.kind}, ${support.strength}${word && `, ${word}`}`,
    },
    `${unit.number}${sign}`,
  );
}

const RESULTS = { right: "\u2713 right", partly: "\u25d1 partly", wrong: "\u2717 wrong" };

// A bar with the part of each modality, the strength in a word, and what came of the truth.
function gauge(trace, span) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" });
  for (const [kind, share] of sharesByKind(trace, span)) {
    const piece = el("span", { class: `k-${kind}` });
    piece.style.setProperty("flex-grow", share);
    bar.append(piece);
  }
  const truth = span.truth;
  const result = truth && el("span", { class: `result ${truth.result}` }, RESULTS[truth.result]);
  return el(
    "span",
    { class: "gauge" },
    bar,
    el("span", { class: "strength" }, span.strength),
    result,
  );
}

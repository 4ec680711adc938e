// What the chosen statement, source or word rests on, or what rests on it.

import { el, icon, isolated, iconButton, named } from "./dom.js";
import { frameOf, picture, row, supportFigures } from "./bubble.js";
import { clock, count, percent, shorten } from "./format.js";
import { guide } from "./guide.js";
import { pairs, sharesByKind } from "./state.js";

const QUOTE = 280; // characters of a passage in a list

export function createEvidence(store, bubble, { go }) {
  const { trace } = store;
  const title = el("h2", { id: "evidence-title" }, "Evidence");
  const close = iconButton("close", "Clear the selection", () => store.pin(null), { hidden: true });
  // What is said of a selection is read out when it changes.
  const said = el("div", { class: "content", "aria-live": "polite" });
  const help = guide(trace);
  const body = el("div", { class: "body" }, said, help);
  const node = el(
    "section",
    { class: "evidence pane", "aria-labelledby": "evidence-title" },
    el("header", { class: "pane-head" }, title, close),
    body,
  );

  const render = () => {
    const selection = store.pinned;
    const views = { span: spanView, unit: unitView, token: tokenView };
    const [heading, content] = selection ? views[selection.kind](selection.index) : overviewOf();
    title.textContent = heading;
    close.hidden = !selection;
    said.replaceChildren(...[content].flat().filter(Boolean));
    body.scrollTop = 0;
    node.classList.toggle("idle", !selection);
  };

  const overviewOf = () => {
    const supported = trace.spans.filter((span) => span.supports.length).length;
    return [
      "Evidence",
      [
        el(
          "p",
          { class: "lead" },
          `${supported} of ${count(trace.spans.length, "statement")} with a source.`,
        ),
        el(
          "p",
          { class: "quiet" },
          "Choose a statement to see what it rests on, or a source to see what rests on it. Arrow keys move, Escape clears.",
        ),
      ],
    ];
  };

  const spanView = (index) => {
    const span = trace.spans[index];
    const items = span.supports.map((support) => supportItem(support));
    const missed = (span.truth?.missed ?? []).map((units) => missedItem(units));
    const heading = `Statement ${index + 1} of ${trace.spans.length}`;
    const why = span.why ?? `it rests on ${count(items.length, "source")}`;
    const summary = el(
      "p",
      { class: "summary" },
      el("span", { class: `strength s-${span.strength.split(" ")[0]}` }, capital(span.strength)),
      `: ${why}.`,
    );
    return [heading, [summary, truthLine(span), el("ol", { class: "supports" }, items, missed)]];
  };

  const truthLine = ({ truth }) => {
    if (!truth) return null;
    const words = { right: "\u2713 right", partly: "\u25d1 partly right", wrong: "\u2717 wrong" };
    const missing = truth.missed.length;
    const how = !truth.expected
      ? "the labels name no source"
      : missing
        ? `${missing} of ${count(truth.expected, "piece")} of evidence missed`
        : "all of the labelled evidence is named";
    return el(
      "p",
      { class: `truth ${truth.result}` },
      el("b", {}, words[truth.result]),
      `: ${how}`,
      truth.said === null ? null : `; what it says is ${truth.said ? "true" : "false"}`,
      truth.note ? el("span", { class: "quiet note" }, isolated(truth.note)) : null,
    );
  };

  const supportItem = (support) => {
    const unit = trace.units[support.unit];
    const word = el("span", { class: `strength s-${support.strength}` }, support.strength);
    const right =
      support.right === null
        ? null
        : el(
            "span",
            { class: support.right ? "right" : "spurious" },
            support.right ? "\u2713 right" : "\u2717 spurious",
          );
    const bar = el("span", { class: `share k-${unit.kind}`, "aria-hidden": "true" }, el("i"));
    bar.style.setProperty("--share", support.share);
    const item = card(support.unit, [word, right], bar);
    const button = item.querySelector("button");
    button.addEventListener("pointerenter", () => bubble.show(button, supportFigures(support)));
    button.addEventListener("pointerleave", () => bubble.hide());
    button.addEventListener("focus", () => bubble.show(button, supportFigures(support)));
    button.addEventListener("blur", () => bubble.hide());
    return item;
  };

  const missedItem = (units) => {
    const sign = el("span", { class: "missed-word" }, "\u25cc missed");
    if (!units.length)
      return el(
        "li",
        { class: "card missed" },
        sign,
        el("p", { class: "quiet" }, "in a part of the request that is no source"),
      );
    const item = card(units[0], [sign], null);
    item.classList.add("missed");
    return item;
  };

  const card = (index, words, bar) => {
    const unit = trace.units[index];
    const part = trace.parts[unit.part];
    const frame = part.frames?.length ? frameOf(part, index) : null;
    const number =
      unit.number === null ? null : el("span", { class: `no k-${unit.kind}` }, String(unit.number));
    const button = el(
      "button",
      { class: "go", type: "button" },
      el(
        "span",
        { class: "card-head" },
        number,
        el("b", {}, named(part.title ?? part.name)),
        words,
      ),
      unit.kind === "text"
        ? null
        : el("span", { class: "where" }, icon(unit.kind), unit.place),
      unit.quote === null ? null : isolated(shorten(unit.quote, QUOTE), { class: "quote" }),
      frame
        ? el("img", {
            class: "thumb",
            alt: `Frame at ${clock(frame.start)}`,
            src: picture(frame.jpeg),
          })
        : null,
      bar,
    );
    button.addEventListener("click", () => go(index));
    return el("li", { class: "card" }, button);
  };

  const spanItem = ({ index, support }) => {
    const span = trace.spans[index];
    const button = el(
      "button",
      { class: "go", type: "button" },
      isolated(shorten(span.text, QUOTE), { class: "quote" }),
      el("span", { class: "quiet" }, support ? support.strength : span.strength),
    );
    button.addEventListener("click", () => store.pin({ kind: "span", index }));
    return el("li", { class: "card" }, button);
  };

  const unitView = (index) => {
    const unit = trace.units[index];
    const part = trace.parts[unit.part];
    const resting = store.spansOn(index);
    const about = el(
      "p",
      { class: "summary" },
      unit.number === null ? null : el("span", { class: `no k-${unit.kind}` }, String(unit.number)),
      " ",
      el("b", {}, named(part.title ?? part.name)),
      ` ${unit.place}`,
    );
    const quote =
      unit.quote === null ? null : isolated(shorten(unit.quote, QUOTE), { class: "quote" });
    const lead = resting.length
      ? `${count(resting.length, "statement")} ${resting.length === 1 ? "rests" : "rest"} on it:`
      : "No statement rests on it.";
    return [
      "Source",
      [
        about,
        quote,
        el("p", { class: "lead" }, lead),
        el("ol", { class: "supports" }, resting.map(spanItem)),
      ],
    ];
  };

  const tokenView = (index) => {
    const { tokens } = trace;
    const shares = {
      sources: tokens.grounding,
      request: tokens.instruction,
      "own words": tokens.generated,
      template: tokens.template,
    };
    const top = pairs(tokens.top[index]);
    const stack = el("div", { class: "stack", "aria-hidden": "true" });
    const legend = el("p", { class: "legend" });
    Object.entries(shares).forEach(([name, values], k) => {
      const piece = el("i", { class: `t-${k}` });
      piece.style.setProperty("flex-grow", values[index]);
      stack.append(piece);
      legend.append(
        el(
          "span",
          {},
          el("i", { class: `t-${k}`, "aria-hidden": "true" }),
          `${name} ${percent(values[index])}`,
        ),
      );
    });
    const items = top.map(([unit, share]) => {
      const bar = el(
        "span",
        { class: `share k-${trace.units[unit].kind}`, "aria-hidden": "true" },
        el("i"),
      );
      bar.style.setProperty("--share", share / top[0][1]);
      return card(unit, [el("span", { class: "figure" }, percent(share))], bar);
    });
    return [
      "Word",
      [
        el(
          "p",
          { class: "summary" },
          el("b", { class: "the-word" }, isolated(tokens.text[index].trim() || "\u2423")),
          " Where the model\u2019s signal for this word lies; it is not verified.",
        ),
        stack,
        legend,
        el("ol", { class: "supports" }, items),
      ],
    ];
  };

  store.subscribe((change) => change.pinned && render());
  render();
  return { node, scroller: body };
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

// Where the figures of a statement go: a bubble at its gauge.
export function gaugeFigures(trace, index) {
  const span = trace.spans[index];
  const lines = span.supports.flatMap((support) => [
    el(
      "p",
      { class: "look" },
      el(
        "span",
        { class: `no k-${trace.units[support.unit].kind}` },
        String(trace.units[support.unit].number),
      ),
      el("b", {}, support.strength),
    ),
    ...supportFigures(support).slice(0, support.effect === null ? 2 : 1),
  ]);
  if (span.all !== null)
    lines.push(
      row(
        "all sources hidden",
        `${span.all < 0 ? "\u2212" : "+"}${Math.abs(span.all).toFixed(2)} nats`,
      ),
    );
  const kinds = [...sharesByKind(trace, span)];
  if (kinds.length > 1)
    lines.push(
      row("by kind", kinds.map(([kind, share]) => `${kind} ${percent(share)}`).join(", ")),
    );
  lines.push(row("signal on sources", percent(span.grounding)));
  return lines;
}

// Two traces of the same request: their statements side by side, and where they differ.

import { el, named } from "./dom.js";
import { count } from "./format.js";
import { lazily } from "./lazy.js";
import { statement } from "./statement.js";

const CHUNK = 24; // rows that come to life together

export function createComparison(stores, { pairs, units }, choose) {
  const counterpart = new Map(units);
  const body = el("div", { class: "body" });
  const lazy = lazily(body);
  const agree = ([a, b]) => agreement(stores, counterpart, a, b);
  const both = pairs.filter(([a, b]) => a !== null && b !== null);
  const same = both.filter((pair) => agree(pair) === "same sources").length;
  const node = el(
    "section",
    { class: "comparison response pane", "aria-label": "Comparison" },
    el(
      "header",
      { class: "pane-head" },
      el("h2", {}, "Comparison"),
      el(
        "span",
        { class: "quiet" },
        `${same} of ${count(both.length, "common statement")} with the same sources`,
      ),
    ),
    el(
      "div",
      { class: "pair heads" },
      stores.map((store, k) => headOf(store.trace, k)),
    ),
    body,
  );

  for (let first = 0; first < pairs.length; first += CHUNK) {
    const chunk = el("div", { class: "chunk" });
    const rows = pairs.slice(first, first + CHUNK);
    chunk.style.setProperty("min-height", `${4 * rows.length}rem`);
    body.append(chunk);
    lazy.add(chunk, () => {
      chunk.style.removeProperty("min-height");
      chunk.replaceChildren(...rows.map(rowOf));
      mark();
    });
  }
  if (!pairs.length) body.append(el("p", { class: "empty" }, "Both responses are empty."));

  function rowOf(pair) {
    const found = agree(pair);
    const cells = pair.map((index, side) => {
      const cell = el("div", { class: "side", "data-side": side });
      if (index === null) cell.append(el("p", { class: "quiet" }, "not said"));
      else cell.append(statement(stores[side].trace, index, false));
      for (const said of cell.querySelectorAll(".said")) said.tabIndex = 0;
      return cell;
    });
    return el(
      "div",
      { class: "pair" },
      cells,
      el("p", { class: `agreement ${found.split(" ")[0]}` }, found),
    );
  }

  const act = (event) => {
    const cell = event.target.closest("[data-side]");
    const line = event.target.closest("[data-statement]");
    if (!cell || !line) return;
    const side = Number(cell.dataset.side);
    const ref = event.target.closest("[data-ref]");
    stores[1 - side].pin(null);
    choose(side);
    stores[side].pin(
      { kind: "span", index: Number(line.dataset.statement) },
      ref ? { reveal: Number(ref.dataset.ref) } : {},
    );
  };
  body.addEventListener("click", act);
  body.addEventListener("keydown", (event) => {
    if ((event.key !== "Enter" && event.key !== " ") || !event.target.closest(".said")) return;
    event.preventDefault();
    act(event);
  });

  const mark = () => {
    stores.forEach((store, side) => {
      const { spans } = store.evidence(store.active);
      for (const line of body.querySelectorAll(`[data-side="${side}"] [data-statement]`)) {
        const on = spans.has(Number(line.dataset.statement));
        line.classList.toggle("on", on);
        line.querySelector(".said").setAttribute("aria-pressed", String(on));
      }
    });
  };
  for (const store of stores) store.subscribe(mark);
  return { node, scroller: body };
}

function headOf(trace, side) {
  return el(
    "p",
    {},
    el("b", {}, "AB"[side]),
    " ",
    named([trace.model, trace.signal].filter(Boolean).join(" \u00b7 ")),
    el("span", { class: "quiet" }, ` ${trace.selection}`),
  );
}

function agreement(stores, counterpart, a, b) {
  if (a === null || b === null) return `only in ${a === null ? "B" : "A"}`;
  const first = stores[0].trace.spans[a].supports.map(
    (support) => counterpart.get(support.unit) ?? -1,
  );
  const second = new Set(stores[1].trace.spans[b].supports.map((support) => support.unit));
  const common = first.filter((unit) => second.has(unit)).length;
  if (common === first.length && common === second.size) return "same sources";
  return common ? "some sources differ" : "different sources";
}

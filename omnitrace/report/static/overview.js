// All statements against all cited sources at once.

import { el, icon, isolated, named } from "./dom.js";
import { shorten } from "./format.js";
import { lazily } from "./lazy.js";

const MOST_COLUMNS = 60; // above it a column is a part, not a unit
const CHUNK = 16; // rows that come to life together

export function createOverview(store, { open }) {
  const { trace } = store;
  const columns = columnsOf(trace);
  const body = el("div", { class: "body" });
  const lazy = lazily(body);
  const node = el("section", { class: "overview pane", "aria-label": "Overview" });
  if (!columns.length) {
    node.append(
      el("p", { class: "empty" }, "No statement has a source: there is nothing to lay out."),
    );
    return { node, scroller: body };
  }
  const known = trace.spans.some((span) => span.truth);
  node.append(
    el(
      "p",
      { class: "quiet intro" },
      `Each row is a statement, each column a ${columns.byPart ? "source" : "cited passage, region or interval"}; the larger a mark, the larger the source\u2019s share of the support.`,
    ),
    el(
      "p",
      { class: "legend" },
      ["text", "image", "audio", "video"].map((kind) =>
        el("span", { class: `k-${kind}` }, el("i", { class: "dot" }), kind),
      ),
      known
        ? [
            el("span", {}, "\u2713 right"),
            el("span", {}, "\u2717 spurious"),
            el("span", {}, "\u25cc missed"),
          ]
        : null,
    ),
    body,
  );

  const head = el(
    "thead",
    {},
    el(
      "tr",
      {},
      el("td", {}),
      columns.groups.map((group) =>
        el(
          "th",
          { scope: "colgroup", colspan: group.size, class: `k-${group.part.kind}` },
          el(
            "span",
            { class: "group" },
            icon(group.part.kind),
            named(shorten(group.part.title ?? group.part.name, 40)),
          ),
        ),
      ),
    ),
    columns.byPart
      ? null
      : el(
          "tr",
          {},
          el("th", { scope: "col", class: "corner" }, "Statement"),
          columns.map((column) => el("th", { scope: "col" }, columnButton(column))),
        ),
  );
  const table = el("table", { class: "matrix" }, head);
  for (let first = 0; first < trace.spans.length; first += CHUNK) {
    const last = Math.min(first + CHUNK, trace.spans.length);
    const rows = el("tbody", {}, el("tr", {}, el("th", { scope: "row" }, "\u2026")));
    rows.style.setProperty("height", `${2.4 * (last - first)}rem`);
    table.append(rows);
    lazy.add(rows, () => {
      rows.style.removeProperty("height");
      rows.replaceChildren(
        ...trace.spans.slice(first, last).map((span, k) => rowOf(span, first + k)),
      );
    });
  }
  body.append(table);

  function columnButton(column) {
    const unit = trace.units[column.units[0]];
    const button = el(
      "button",
      {
        class: `no k-${unit.kind}`,
        type: "button",
        title: shorten(unit.quote ?? unit.place, 120),
        "aria-label": unit.number === null ? "Missed evidence" : `Source ${unit.number}`,
      },
      unit.number === null ? "\u25cc" : String(unit.number),
    );
    button.addEventListener("click", () =>
      open({ kind: "unit", index: column.units[0] }, column.units[0]),
    );
    return button;
  }

  function rowOf(span, index) {
    const label = el(
      "button",
      { class: "row-label", type: "button" },
      isolated(shorten(span.text, 110)),
    );
    label.addEventListener("click", () => open({ kind: "span", index }));
    return el(
      "tr",
      {},
      el(
        "th",
        { scope: "row" },
        label,
        el("span", { class: `quiet strength s-${span.strength.split(" ")[0]}` }, span.strength),
      ),
      columns.map((column) => cellOf(span, index, column)),
    );
  }

  function cellOf(span, index, column) {
    const supports = span.supports.filter((support) => column.set.has(support.unit));
    const missed = (span.truth?.missed ?? []).some((units) =>
      units.some((unit) => column.set.has(unit)),
    );
    if (!supports.length)
      return el(
        "td",
        { class: missed ? "missed" : null },
        missed
          ? el("span", { role: "img", "aria-label": "missed", title: "missed" }, "\u25cc")
          : null,
      );
    const share = supports.reduce((sum, support) => sum + support.share, 0);
    const strong = supports.some((support) => support.strength === "strong");
    const right = supports.some((support) => support.right)
      ? " \u2713"
      : supports.some((support) => support.right === false)
        ? " \u2717"
        : "";
    const dot = el("i", { class: `dot${strong ? "" : " weak"}`, "aria-hidden": "true" });
    dot.style.setProperty("--share", share);
    const unit = trace.units[supports[0].unit];
    const label = `Statement ${index + 1}, source ${unit.number}: ${strong ? "strong" : "weak"}${right === " \u2713" ? ", right" : right ? ", spurious" : ""}`;
    const button = el(
      "button",
      {
        class: `cell k-${unit.kind}`,
        type: "button",
        "aria-label": label,
        title: `${strong ? "strong" : "weak"}, share ${Math.round(100 * share)}%`,
      },
      dot,
      right ? el("span", { class: "sign", "aria-hidden": "true" }, right.trim()) : null,
    );
    button.addEventListener("click", () => open({ kind: "span", index }, supports[0].unit));
    return el("td", {}, button);
  }

  return { node, scroller: body };
}

function columnsOf(trace) {
  const used = new Set();
  trace.units.forEach((unit, index) => unit.number !== null && used.add(index));
  for (const span of trace.spans)
    for (const units of span.truth?.missed ?? []) if (units.length) used.add(units[0]);
  const cited = [...used].sort((a, b) => a - b);
  const byPart = cited.length > MOST_COLUMNS;
  const groups = [];
  for (const unit of cited) {
    const { part } = trace.units[unit];
    if (groups.at(-1)?.index !== part)
      groups.push({ index: part, part: trace.parts[part], units: [] });
    groups.at(-1).units.push(unit);
  }
  const columns = byPart
    ? groups.map(({ units }) => columnOf(units))
    : cited.map((unit) => columnOf([unit]));
  columns.byPart = byPart;
  columns.groups = groups.map((group) => ({ ...group, size: byPart ? 1 : group.units.length }));
  return columns;
}

function columnOf(units) {
  return { units, set: new Set(units) };
}

// The inputs in their order. A source that is chosen shows every statement that rests on it.

import { el, icon, named, scrollInto, seenHeight } from "./dom.js";
import { imageBody } from "./images.js";
import { lazily } from "./lazy.js";
import { textPieces, unfold } from "./texts.js";
import { timeBody } from "./times.js";

export function createSources(store, looks) {
  const { trace } = store;
  const body = el("div", { class: "body" });
  const bodies = new Map();
  const lazy = lazily(body);
  const citedOnly = el("input", { type: "checkbox", role: "switch" });
  const title = el("h2", {}, "Sources");
  const node = el(
    "section",
    { class: "sources pane", "aria-label": "Sources" },
    el(
      "header",
      { class: "pane-head" },
      title,
      el("label", { class: "switch" }, citedOnly, "Cited only"),
    ),
    body,
  );
  citedOnly.addEventListener("change", () =>
    body.classList.toggle("cited-only", citedOnly.checked),
  );

  const citedIn = trace.parts.map(() => 0);
  for (const unit of trace.units) if (unit.number !== null) citedIn[unit.part] += 1;
  const manyRoles = trace.roles.length > 1;
  trace.parts.forEach((part, index) => {
    if (manyRoles && part.index === 0)
      body.append(el("p", { class: "role" }, named(trace.roles[part.message])));
    body.append(partNode(part, citedIn[index]));
  });
  if (!trace.parts.length) body.append(el("p", { class: "empty" }, "The request is empty."));

  function partNode(part, cited) {
    const made =
      part.kind === "text"
        ? textLater(part)
        : part.kind === "image"
          ? imageBody(part, store, looks)
          : timeBody(part, store);
    bodies.set(part, made);
    const state = !part.source ? "not a source" : cited ? `${cited} cited` : "not cited";
    return el(
      "section",
      {
        class: `part ${part.kind}${part.source ? "" : " asked"}${cited ? "" : " uncited"}`,
        "aria-label": part.title ?? part.name,
      },
      el(
        "header",
        { class: `part-head k-${part.kind}` },
        icon(part.kind),
        el("h3", {}, named(part.title ?? part.name)),
        el(
          "span",
          { class: "quiet" },
          part.title ? named(part.name) : null,
          part.title && part.facts ? " · " : null,
          part.facts,
        ),
        el("span", { class: "quiet count" }, state),
      ),
      part.metadata ? metadata(part.metadata) : null,
      made.node,
    );
  }

  // Until it is seen, a text is bare: of many documents few are looked at.
  function textLater(part) {
    const made = {
      node: el("div", { class: "prose", dir: "auto" }, part.pieces.map(([text]) => text).join("")),
    };
    made.fill = () => lazy.fill(made.node);
    lazy.add(made.node, () => {
      made.node.replaceChildren(...textPieces(part, store));
      mark();
    });
    return made;
  }

  const unitNodes = (unit) => body.querySelectorAll(`[data-unit="${unit}"]`);

  let marked = [];
  const mark = () => {
    for (const each of marked) {
      each.classList.remove("on", "missed", "wrong");
      each.style.removeProperty("--weight");
      if (each.hasAttribute("aria-pressed")) each.setAttribute("aria-pressed", "false");
    }
    marked = [];
    const evidence = store.evidence(store.active);
    for (const [unit, { weight, right }] of evidence.units) {
      for (const each of unitNodes(unit)) {
        each.classList.add("on");
        each.classList.toggle("wrong", right === false);
        each.style.setProperty("--weight", weight.toFixed(3));
        if (each.hasAttribute("aria-pressed")) each.setAttribute("aria-pressed", "true");
        marked.push(each);
      }
    }
    for (const unit of evidence.missed) {
      for (const each of unitNodes(unit)) {
        each.classList.add("missed");
        marked.push(each);
      }
    }
    for (const made of bodies.values()) made.paint?.(evidence.signal);
  };

  const reveal = (unit, pulse) => {
    const part = trace.parts[trace.units[unit].part];
    bodies.get(part).fill?.();
    const found = [...unitNodes(unit)];
    if (!found.length) return;
    unfold(found[0]);
    bodies.get(part).preview?.(unit);
    const section = found[0].closest(".part");
    const fits = section.clientHeight < seenHeight(body) - 24;
    scrollInto(
      body,
      part.kind !== "text" && fits ? section : found.at(-1),
      fits && part.kind !== "text" ? 0.5 : 0.3,
    );
    if (!pulse) return;
    for (const each of found) {
      each.classList.remove("pulse");
      void each.getBoundingClientRect();
      each.classList.add("pulse");
    }
  };

  body.addEventListener("click", (event) => {
    const found = event.target.closest("[data-unit]");
    if (found && !getSelection().toString())
      store.pin({ kind: "unit", index: Number(found.dataset.unit) }, { here: true });
  });
  body.addEventListener("keydown", (event) => {
    const found = event.target.closest('[data-unit][role="button"]');
    if (!found || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    store.pin({ kind: "unit", index: Number(found.dataset.unit) }, { here: true });
  });
  body.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    const found = event.target.closest("[data-unit]");
    const resting = found && store.spansOn(Number(found.dataset.unit)).length;
    store.hover(resting ? { kind: "unit", index: Number(found.dataset.unit) } : null);
  });
  body.addEventListener("pointerleave", () => store.hover(null));

  store.subscribe((change) => {
    mark();
    if (!change.pinned || change.here || !store.pinned) return;
    const strongest = change.reveal ?? store.evidence(store.pinned).units.keys().next().value;
    if (strongest !== undefined) reveal(strongest, change.reveal !== undefined);
  });

  const heading = (text) => {
    title.textContent = text;
  };
  return { node, scroller: body, reveal, heading };
}

function metadata(values) {
  const rows =
    typeof values === "object" && !Array.isArray(values)
      ? Object.entries(values).map(([name, value]) => [
          name,
          typeof value === "string" ? value : JSON.stringify(value),
        ])
      : [["metadata", JSON.stringify(values)]];
  return el(
    "details",
    { class: "metadata" },
    el("summary", {}, "Metadata"),
    el(
      "dl",
      {},
      rows.map(([name, value]) =>
        el("div", {}, el("dt", {}, named(name)), el("dd", {}, named(value))),
      ),
    ),
  );
}

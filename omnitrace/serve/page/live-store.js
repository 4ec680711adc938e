// What is chosen and lit in a run that is being written. It has the face of the viewer's store
// (report/static/state.js), so that the sources are drawn by the same modules; but spans are added,
// and while nothing is chosen the newest words are followed.

import { createChoice } from "../report/state.js";

export function createLiveStore(view) {
  const trace = { title: "", notes: [], warnings: [], rest: "", ...view, spans: [] };
  const restingOn = new Map();
  const newest = { open: null, last: null };
  const choice = createChoice(() => (newest.open ? { kind: "open", index: 0 } : newest.last));
  let cited = 0;

  return Object.assign(choice, {
    trace,
    growing: true,
    // The provisional supports of the words that are in no span yet, or null.
    open(supports) {
      newest.open = supports?.length ? supports : null;
      choice.notify({ pinned: false });
    },
    // Add a span with its supports. Returns the units that are cited for the first time.
    add(span) {
      const index = trace.spans.push(span) - 1;
      const fresh = [];
      for (const support of span.supports) {
        const unit = trace.units[support.unit];
        if (unit.number === null) {
          cited += 1;
          unit.number = cited;
          fresh.push(support.unit);
        }
        if (!restingOn.has(support.unit)) restingOn.set(support.unit, []);
        restingOn.get(support.unit).push({ index, support });
      }
      newest.open = null;
      newest.last = { kind: "span", index };
      return fresh;
    },
    // The response has ended: nothing is followed any more.
    rest() {
      newest.open = null;
      newest.last = null;
      choice.notify({ pinned: false });
    },
    show: () => choice.notify({ pinned: false }),
    spansOn: (unit) => restingOn.get(unit) ?? [],
    spanOfToken: () => null,
    evidence(selection) {
      const found = { units: new Map(), missed: new Set(), spans: new Set(), signal: new Map() };
      if (selection?.kind === "unit") {
        found.units.set(selection.index, { weight: 1 });
        for (const { index } of restingOn.get(selection.index) ?? []) found.spans.add(index);
        return found;
      }
      const span = selection?.kind === "span" ? trace.spans[selection.index] : null;
      const supports = (selection?.kind === "open" ? newest.open : span?.supports) ?? [];
      const most = Math.max(...supports.map((each) => each.share), 1e-9);
      for (const { unit, share } of supports) found.units.set(unit, { weight: share / most });
      if (selection?.kind === "span") found.spans.add(selection.index);
      return found;
    },
  });
}

// Number a unit among the sources, which were drawn before it was cited. Texts that are drawn later
// have the number by themselves.
export function cite(sources, store, index) {
  const unit = store.trace.units[index];
  const part = store.trace.parts[unit.part];
  const label = `Source ${unit.number}: ${unit.place}`;
  const badge = (kind) => {
    const node = document.createElement("span");
    node.className = `no k-${kind}`;
    node.textContent = String(unit.number);
    return node;
  };
  sources.scroller.querySelectorAll(`[data-unit="${index}"]`).forEach((node, k) => {
    if (node.matches(".no")) return;
    node.classList.add("cited");
    if (k > 0) return;
    if (node.matches(".piece")) {
      node.prepend(badge("text"));
      const button = { role: "button", tabindex: "0", "aria-pressed": "false" };
      for (const [name, value] of Object.entries(button)) node.setAttribute(name, value);
    } else if (node.matches(".range")) {
      node.prepend(badge(node.matches(".k-audio") ? "audio" : "video"));
      node.tabIndex = 0;
      node.setAttribute("aria-label", label);
    } else if (part.kind === "image") {
      const region = part.regions.find((each) => each.unit === index);
      const pin = document.createElement("button");
      pin.type = "button";
      pin.className = "no pin k-image";
      pin.textContent = String(unit.number);
      pin.dataset.unit = String(index);
      pin.setAttribute("aria-label", label);
      pin.setAttribute("aria-pressed", "false");
      pin.style.setProperty("left", `${(100 * region.corner[0]) / part.width}%`);
      pin.style.setProperty("top", `${(100 * region.corner[1]) / part.height}%`);
      node.closest(".picture").append(pin);
      node.parentElement.append(node); // its outline lies on top
    }
  });
}

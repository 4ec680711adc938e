// What is chosen in a trace, and what that rests on. Panes subscribe; none knows another.
//
// A selection is { kind: "span" | "unit" | "token", index }. A hovered one is shown while it lasts,
// a pinned one until another is pinned or Escape clears it.

export function createStore(trace) {
  const restingOn = indexSpans(trace);
  const spanOfToken = indexTokens(trace);
  return Object.assign(createChoice(), {
    trace,
    spansOn: (unit) => restingOn.get(unit) ?? [],
    spanOfToken: (token) => spanOfToken[token] ?? null,
    evidence: (selection) => evidenceOf(trace, selection, restingOn, spanOfToken),
  });
}

// What is hovered and pinned, and who is told. `otherwise` returns what is shown without either.
export function createChoice(otherwise = () => null) {
  const listeners = new Set();
  const state = { pinned: null, hovered: null };

  const notify = (change) => {
    for (const listener of listeners) listener(change);
  };

  return {
    notify,
    get pinned() {
      return state.pinned;
    },
    get active() {
      return state.hovered ?? state.pinned ?? otherwise();
    },
    hover(selection) {
      if (same(selection, state.hovered)) return;
      state.hovered = selection;
      notify({ pinned: false });
    },
    // `reveal` names a unit that the sources should scroll to; by default the strongest one.
    pin(selection, options = {}) {
      state.pinned = selection;
      state.hovered = null;
      notify({ pinned: true, ...options });
    },
    toggle(selection) {
      this.pin(same(selection, state.pinned) ? null : selection);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function same(one, other) {
  return one?.kind === other?.kind && one?.index === other?.index;
}

// The part of each modality in the support of a span.
export function sharesByKind(trace, span) {
  const shares = new Map();
  for (const support of span.supports) {
    const { kind } = trace.units[support.unit];
    shares.set(kind, (shares.get(kind) ?? 0) + support.share);
  }
  return shares;
}

// For each unit the spans that rest on it, with the support.
function indexSpans(trace) {
  const found = new Map();
  trace.spans.forEach((span, index) => {
    for (const support of span.supports) {
      if (!found.has(support.unit)) found.set(support.unit, []);
      found.get(support.unit).push({ index, support });
    }
  });
  return found;
}

function indexTokens(trace) {
  const owners = new Array(trace.tokens.text.length).fill(null);
  trace.spans.forEach((span, index) => owners.fill(index, span.tokens[0], span.tokens[1]));
  return owners;
}

// The pairs of a flat list: [[unit, share], ...].
export function pairs(flat) {
  return Array.from({ length: flat.length / 2 }, (_, k) => [flat[2 * k], flat[2 * k + 1]]);
}

// What to highlight: units with a weight in [0, 1] each, the evidence that was missed, spans, and
// the signal, where there is one: a weight for every unit that it lies on.
function evidenceOf(trace, selection, restingOn, spanOfToken) {
  const found = { units: new Map(), missed: new Set(), spans: new Set(), signal: new Map() };
  if (!selection) return found;
  if (selection.kind === "unit") {
    found.units.set(selection.index, { weight: 1 });
    for (const { index } of restingOn.get(selection.index) ?? []) found.spans.add(index);
    return found;
  }
  if (selection.kind === "token") {
    const top = pairs(trace.tokens.top[selection.index] ?? []);
    for (const [unit, share] of top) found.units.set(unit, { weight: share / top[0][1] });
    found.signal = new Map(top);
    const owner = spanOfToken[selection.index];
    if (owner !== null) found.spans.add(owner);
    return found;
  }
  const span = trace.spans[selection.index];
  const most = Math.max(...span.supports.map((support) => support.share), 1e-9);
  for (const support of span.supports) {
    found.units.set(support.unit, { weight: support.share / most, right: support.right });
  }
  for (const units of span.truth?.missed ?? []) {
    for (const unit of units) found.missed.add(unit);
  }
  found.spans.add(selection.index);
  found.signal = new Map(pairs(span.signal));
  return found;
}

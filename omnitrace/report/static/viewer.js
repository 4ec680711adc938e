// The viewer of traces: a bar on top, what made the trace, and its panes.

import { createBubble, unitPreview } from "./bubble.js";
import { createComparison } from "./compare.js";
import { el } from "./dom.js";
import { createEvidence, gaugeFigures } from "./evidence.js";
import { about, searchField, topBar } from "./header.js";
import { createOverview } from "./overview.js";
import { createResponse } from "./response.js";
import { createSearch } from "./search.js";
import { createSheet } from "./sheet.js";
import { createSources } from "./sources.js";
import { createStore } from "./state.js";

const SHORT = 60; // statements: a longer response is read as prose

// Show traces in `root`. `data` is what the Python module report/view.py makes.
//
// A page around it may give `tools`, elements that take the place of the name in the bar, and
// `chosen`, what is shown and pinned at first, as `chosen()` of an earlier viewer returned it.
export function mount(root, data, { tools = null, chosen = null } = {}) {
  const { traces, compare } = data;
  const bubble = createBubble();
  const looks = { heat: 50 }; // what all panes share
  const sessions = new Map();
  const head = el("div", { class: "head" });
  const stage = el("main", { class: "stage-area" });
  let now = null;
  let view = compare ? "compare" : "read";

  const search = createSearch(() => now?.scrollers() ?? []);
  const field = searchField(search);
  const names = compare
    ? { compare: "Compare", a: "A", b: "B" }
    : { read: "Read", overview: "Overview" };
  const bar = topBar(compare ? [] : traces, {
    show: (number) => show(number),
    look: (name) => look(name),
    search: field,
    views: names,
    tools,
  });

  const sessionOf = (number) => {
    if (!sessions.has(number)) {
      sessions.set(
        number,
        createSession(traces[number], bubble, looks, () => look("read")),
      );
    }
    return sessions.get(number);
  };

  const show = (number) => {
    head.replaceChildren(about(traces[number], number));
    now = sessionOf(number);
    bar.choose(number);
    // The frame of a notebook has no address of its own.
    if (!compare && traces.length > 1 && location.protocol !== "about:") {
      history.replaceState(null, "", `#trace-${number + 1}`);
    }
    place();
  };

  const place = () => {
    stage.replaceChildren(view === "overview" ? now.overview() : now.node);
    bubble.hide();
    if (field.field.value) field.again();
  };

  const look = (name) => {
    view = name;
    bar.press(name);
    if (name === "compare") {
      now = comparison();
      head.replaceChildren(
        el(
          "h1",
          { class: "compared-title", dir: "auto" },
          traces[0].title || "Two traces of a request",
        ),
      );
      place();
    } else if (name === "a" || name === "b") show(name === "a" ? 0 : 1);
    else place();
  };

  let compared = null;
  const comparison = () => {
    compared ??= createCompared(traces, compare, bubble, looks);
    return compared;
  };

  const keys = (event) => {
    if (event.key === "Escape") {
      bubble.hide();
      now.clear();
    } else if (event.key === "/" && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      field.field.focus();
    }
  };
  const follow = () => !compare && show(numberOf(location.hash, traces.length));
  document.addEventListener("keydown", keys);
  addEventListener("hashchange", follow);
  root.replaceChildren(el("div", { class: "app" }, bar.node, head, stage), bubble.node);
  document.documentElement.classList.add("scripted");
  if (compare) look("compare");
  else show(numberOf(location.hash, traces.length));
  if (chosen) {
    look(chosen.view);
    if (chosen.pinned) now.pin(chosen.pinned);
  }
  return {
    chosen: () => ({ view, pinned: now.pinned?.() ?? null }),
    unmount() {
      document.removeEventListener("keydown", keys);
      removeEventListener("hashchange", follow);
      root.replaceChildren();
    },
  };
}

function numberOf(hash, count) {
  const number = Number(/^#trace-(\d+)$/.exec(hash)?.[1] ?? 1) - 1;
  return number < count ? Math.max(number, 0) : 0;
}

// The panes of one trace.
function createSession(trace, bubble, looks, read) {
  const store = createStore(trace);
  const sources = createSources(store, looks);
  const response = createResponse(store, bubble, {
    layout: trace.spans.length > SHORT ? "prose" : "lines",
    preview: (unit) => unitPreview(trace, unit),
  });
  const side = el("div", { class: "side-pane" });
  const evidence = createEvidence(store, bubble, {
    go: (unit) => {
      sheet.makeRoom();
      sources.reveal(unit, true);
    },
  });
  side.append(response.node, evidence.node);
  const sheet = createSheet(side);
  figuresOnHover(response.node, trace, bubble);
  const node = el("div", { class: "panes" }, sources.node, side);
  let overview = null;
  return {
    node,
    scrollers: () => [sources.scroller, response.scroller],
    clear: () => store.pin(null),
    pin: (selection) => store.pin(selection),
    pinned: () => store.pinned,
    overview() {
      overview ??= createOverview(store, {
        open(selection, unit) {
          read();
          requestAnimationFrame(() =>
            store.pin(selection, unit === undefined ? {} : { reveal: unit }),
          );
        },
      });
      return overview.node;
    },
  };
}

// The panes of two traces: a comparison, and the sources of whichever is chosen.
function createCompared(traces, compare, bubble, looks) {
  const stores = traces.map(createStore);
  const sources = stores.map((store, k) => {
    const made = createSources(store, looks);
    made.heading(`Sources, as ${"AB"[k]} uses them`);
    return made;
  });
  const evidence = stores.map((store, k) =>
    createEvidence(store, bubble, {
      go: (unit) => {
        sheet.makeRoom();
        sources[k].reveal(unit, true);
      },
    }),
  );
  const choose = (side) => {
    sources.forEach((each, k) => (each.node.hidden = k !== side));
    evidence.forEach((each, k) => (each.node.hidden = k !== side));
  };
  const comparison = createComparison(stores, compare, choose);
  const side = el(
    "div",
    { class: "side-pane" },
    comparison.node,
    evidence.map((each) => each.node),
  );
  const sheet = createSheet(side);
  choose(0);
  const node = el(
    "div",
    { class: "panes compared" },
    sources.map((each) => each.node),
    side,
  );
  return {
    node,
    scrollers: () => [
      ...sources.filter((each) => !each.node.hidden).map((each) => each.scroller),
      comparison.scroller,
    ],
    clear: () => stores.forEach((store) => store.pin(null)),
  };
}

// A statement's gauge shows its figures.
function figuresOnHover(node, trace, bubble) {
  node.addEventListener("pointerover", (event) => {
    const gauge = event.target.closest(".gauge");
    if (!gauge) return;
    const index = Number(gauge.closest("[data-statement]").dataset.statement);
    bubble.show(gauge, gaugeFigures(trace, index));
  });
}

// The response with its markers. Hovering previews, a click pins, arrow keys move on.

import { choice, el, scrollInto } from "./dom.js";
import { lazily } from "./lazy.js";
import { statement } from "./statement.js";

const CHUNK = 24; // statements that come to life together
const HEADINGS = { thought: "Thought", answer: "Answer" };

export function createResponse(store, bubble, looks) {
  const { trace } = store;
  const body = el("div", { class: "body" });
  const lazy = lazily(body);
  const chunks = [];
  let words = false;
  let marked = [];

  const setLayout = (layout) => body.setAttribute("data-layout", layout);
  const node = el(
    "section",
    { class: "response pane", "aria-label": "Response" },
    el(
      "header",
      { class: "pane-head" },
      el("h2", {}, "Response"),
      choice(
        "Layout",
        { lines: "Lines", prose: "Prose", words: "Words" },
        looks.layout,
        (value) => {
          setLayout(value === "words" ? "prose" : value);
          if (words !== (value === "words")) setWords(value === "words");
          looks.layout = value;
        },
      ),
    ),
    body,
  );

  const build = () => {
    for (const section of sectionsOf(trace)) {
      const block = el("div", { class: `section ${section.name}` });
      if (section.headed) block.append(el("h3", {}, HEADINGS[section.name]));
      for (let first = section.first; first < section.last; first += CHUNK) {
        const chunk = el("div", { class: "chunk" });
        chunks.push({ node: chunk, first, last: Math.min(first + CHUNK, section.last) });
        block.append(chunk);
        wait(chunks.at(-1));
      }
      body.append(block);
    }
    if (trace.rest.trim()) body.append(el("p", { class: "between", dir: "auto" }, trace.rest));
    if (!trace.spans.length && !trace.rest.trim()) {
      body.append(el("p", { class: "empty" }, "The response is empty."));
    }
  };

  // Until it is seen, a chunk is its bare text.
  const wait = (chunk) => {
    const spans = trace.spans.slice(chunk.first, chunk.last);
    const text = spans.map((span) => span.before + span.text).join("");
    chunk.node.replaceChildren(text.trimStart());
    chunk.node.classList.add("bare");
    lazy.add(chunk.node, () => bring(chunk));
  };

  const bring = (chunk) => {
    const made = [];
    for (let i = chunk.first; i < chunk.last; i += 1) {
      const { before } = trace.spans[i];
      if (before.trim()) made.push(el("span", { class: "between", dir: "auto" }, before.trim()));
      else if (i > chunk.first) made.push(before || " ");
      const line = statement(trace, i, words);
      if (/\n\s*\n/.test(before) && i > chunk.first) line.classList.add("paragraph");
      made.push(line);
    }
    chunk.node.classList.remove("bare");
    chunk.node.replaceChildren(...made);
    mark();
  };

  const setWords = (on) => {
    words = on;
    if (store.pinned?.kind === "token")
      store.pin({ kind: "span", index: store.spanOfToken(store.pinned.index) });
    const top = body.getBoundingClientRect().top;
    const first = [...body.querySelectorAll("[data-statement]")].find(
      (line) => line.getBoundingClientRect().bottom > top,
    );
    const index = first && Number(first.dataset.statement);
    for (const chunk of chunks) if (!chunk.node.classList.contains("bare")) wait(chunk);
    if (index !== undefined && body.scrollTop > 0) lineOf(index).scrollIntoView({ block: "start" });
  };

  const lineOf = (index) => {
    const chunk = chunks.find((each) => index < each.last);
    lazy.fill(chunk.node);
    return chunk.node.querySelector(`[data-statement="${index}"]`);
  };

  const mark = () => {
    for (const each of marked) each.classList.remove("on", "pinned", "rests");
    for (const each of body.querySelectorAll('[aria-pressed="true"]'))
      each.setAttribute("aria-pressed", "false");
    const selection = store.active;
    const spans = store.evidence(selection).spans;
    marked = [...spans].map((i) => body.querySelector(`[data-statement="${i}"]`)).filter(Boolean);
    const name = selection?.kind === "unit" ? "rests" : "on";
    for (const each of marked) each.classList.add(name);
    body.classList.toggle("dimmed", selection?.kind === "unit" && spans.size > 0);
    const pinned =
      store.pinned && body.querySelector(`[data-${store.pinned.kind}="${store.pinned.index}"]`);
    pinned?.setAttribute("aria-pressed", "true");
    const stop = pinned ?? body.querySelector("[data-span], [data-token]");
    for (const each of body.querySelectorAll('[tabindex="0"]')) each.tabIndex = -1;
    if (stop) stop.tabIndex = 0;
    for (const each of stop?.closest(".statement").querySelectorAll(".ref") ?? [])
      each.tabIndex = 0;
  };

  const goTo = (selection) => {
    const index = selection.kind === "span" ? selection.index : store.spanOfToken(selection.index);
    if (index === null) return;
    const line = lineOf(index);
    // Once the evidence has the height that it needs.
    requestAnimationFrame(() => scrollInto(body, line));
  };

  const selectionAt = (target) => {
    const found = target.closest("[data-ref], [data-token], [data-span]");
    if (!found) return null;
    const { ref, token, span } = found.dataset;
    if (ref !== undefined) return { kind: "unit", index: Number(ref), anchor: found };
    if (token !== undefined) return { kind: "token", index: Number(token) };
    return { kind: "span", index: Number(span) };
  };

  const choose = (event) => {
    const found = selectionAt(event.target);
    if (!found) return;
    const { kind, index, anchor } = found;
    if (anchor)
      store.pin(
        { kind: "span", index: Number(anchor.closest(".statement").dataset.statement) },
        { reveal: index },
      );
    else store.toggle({ kind, index });
    bubble.hide();
  };

  body.addEventListener("click", choose);
  body.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    const found = selectionAt(event.target);
    store.hover(found && { kind: found.kind, index: found.index });
    if (found?.anchor) bubble.show(found.anchor, looks.preview(found.index));
    else bubble.hide();
  });
  body.addEventListener("pointerleave", () => {
    store.hover(null);
    bubble.hide();
  });
  body.addEventListener("focusin", (event) => {
    const ref = event.target.closest("[data-ref]");
    if (ref?.matches(":focus-visible")) bubble.show(ref, looks.preview(Number(ref.dataset.ref)));
    else bubble.hide();
  });
  body.addEventListener("focusout", () => bubble.hide());
  body.addEventListener("keydown", (event) => {
    const here = event.target.closest("[data-span], [data-token]");
    if (!here) return;
    if (event.key === "Enter" || event.key === " ") choose(event);
    else if (!step(here, event.key)) return;
    event.preventDefault();
  });

  const step = (here, key) => {
    const kind = here.dataset.token === undefined ? "span" : "token";
    const count = kind === "span" ? trace.spans.length : trace.tokens.text.length;
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    let index =
      { Home: 0, End: count - 1 }[key] ?? Number(here.dataset[kind]) + (moves[key] ?? NaN);
    // Some tokens complete no character; some belong to no statement.
    while (kind === "token" && index > 0 && index < count - 1 && !isWord(index))
      index += moves[key] ?? 1;
    if (!(index >= 0 && index < count) || (kind === "token" && !isWord(index))) return key in moves;
    store.pin({ kind, index });
    body.querySelector(`[data-${kind}="${index}"]`)?.focus({ preventScroll: true });
    return true;
  };

  const isWord = (token) => trace.tokens.text[token] && store.spanOfToken(token) !== null;

  store.subscribe((change) => {
    if (change.pinned && store.pinned && store.pinned.kind !== "unit") goTo(store.pinned);
    mark();
  });
  setLayout(looks.layout === "words" ? "prose" : looks.layout);
  words = looks.layout === "words";
  build();
  return {
    node,
    scroller: body,
    chunks: () => chunks,
    show: (index) => goTo({ kind: "span", index }),
  };
}

// Runs of statements of one section. A lone answer needs no heading.
function sectionsOf(trace) {
  const sections = [];
  trace.spans.forEach((span, index) => {
    if (sections.at(-1)?.name !== span.section) sections.push({ name: span.section, first: index });
    sections.at(-1).last = index + 1;
  });
  const headed = sections.some((section) => section.name === "thought");
  return sections.map((section) => ({ ...section, headed }));
}

// Search in the sources and the response, across the marks within a text.

import { scrollInto } from "./dom.js";
import { unfold } from "./texts.js";

const BLOCKS = ".prose, .chunk, .part-head, .between";
const NO_TEXT = ".no, .refs, .gauge, .fold, .count";
const MOST = 1000; // hits

export function createSearch(scrollersNow) {
  let query = "";
  let hits = [];
  let at = 0;
  const paints = typeof Highlight === "function" && CSS.highlights;

  const collect = () => {
    hits = [];
    if (!query) return;
    for (const scroller of scrollersNow()) {
      for (const block of scroller.querySelectorAll(BLOCKS)) {
        hits.push(...hitsIn(block, query).map((range) => ({ range, scroller })));
        if (hits.length >= MOST) return;
      }
    }
  };

  const paint = () => {
    if (!paints) return;
    CSS.highlights.set("found", new Highlight(...hits.map((hit) => hit.range)));
    CSS.highlights.set(
      "found-now",
      new Highlight(...hits.slice(at, at + 1).map((hit) => hit.range)),
    );
  };

  const go = () => {
    const hit = hits[at];
    if (!hit) return;
    unfold(hit.range.startContainer.parentElement);
    scrollInto(hit.scroller, hit.range);
  };

  return {
    // Panes fill as they are seen, so hits are looked for again at each step.
    find(text, move = true) {
      query = text.trim().toLowerCase();
      collect();
      if (move) at = 0;
      at = Math.min(at, Math.max(hits.length - 1, 0));
      if (move) go();
      paint();
      return { at, count: hits.length };
    },
    step(by) {
      collect();
      if (hits.length) at = (at + by + hits.length) % hits.length;
      go();
      paint();
      return { at, count: hits.length };
    },
    clear() {
      query = "";
      hits = [];
      paint();
    },
  };
}

function hitsIn(block, query) {
  const nodes = [];
  let text = "";
  const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT, (node) =>
    node.parentElement.closest(NO_TEXT) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT,
  );
  while (walker.nextNode()) {
    nodes.push({ node: walker.currentNode, start: text.length });
    text += walker.currentNode.data;
  }
  const lower = text.toLowerCase();
  // A few letters change their length with their case; their texts are searched as they are.
  const where = lower.length === text.length ? lower : text;
  const found = [];
  for (
    let from = where.indexOf(query);
    from >= 0;
    from = where.indexOf(query, from + query.length)
  ) {
    const range = document.createRange();
    range.setStart(...pointAt(nodes, from));
    range.setEnd(...pointAt(nodes, from + query.length, true));
    found.push(range);
  }
  return found;
}

function pointAt(nodes, offset, isEnd = false) {
  const k = nodes.findLastIndex(({ start }) => (isEnd ? start < offset : start <= offset));
  return [nodes[k].node, offset - nodes[k].start];
}

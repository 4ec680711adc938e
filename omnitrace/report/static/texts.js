// A text among the sources: its cited passages numbered, long uncited ones folded away.

import { el } from "./dom.js";
import { count } from "./format.js";

const FOLD = 600; // characters from which on an uncited passage is folded
const KEPT = 2; // pieces that stay on either side of a fold: a gap and a sentence

// The pieces of a text, as elements. While a response grows, each may still be cited.
export function textPieces(part, store) {
  const { units } = store.trace;
  const made = [];
  const seen = new Set();
  let quiet = [];

  const flush = (atEnd) => {
    const first = made.length ? KEPT : 0;
    const last = quiet.length - (atEnd ? 0 : KEPT);
    const folded = quiet.slice(first, last);
    const length = folded.reduce((sum, piece) => sum + piece.textContent.length, 0);
    if (length < FOLD || store.growing) made.push(...quiet);
    else made.push(...quiet.slice(0, first), fold(folded), ...quiet.slice(last));
    quiet = [];
  };

  for (const [text, owners] of part.pieces) {
    const unit = owners.at(-1);
    if (unit === undefined) {
      quiet.push(el("span", {}, text));
      continue;
    }
    const { number } = units[unit];
    const begins = !seen.has(unit);
    seen.add(unit);
    if (number === null) {
      quiet.push(el("span", { class: "piece", "data-unit": unit }, text));
      continue;
    }
    flush(false);
    made.push(
      el(
        "span",
        {
          class: "piece cited",
          role: "button",
          tabindex: begins ? "0" : "-1",
          "aria-pressed": "false",
          "data-unit": unit,
        },
        begins ? el("span", { class: "no k-text" }, String(number)) : null,
        text,
      ),
    );
  }
  flush(true);
  return made;
}

// The browser's own search finds what is folded, and opens it.
function fold(pieces) {
  const sentences = pieces.filter((piece) => piece.dataset.unit !== undefined).length;
  const label = sentences ? count(sentences, "passage") : count(pieces.length, "piece");
  const inner = el("span", { class: "folded" }, pieces);
  inner.setAttribute("hidden", "until-found");
  const button = el(
    "button",
    { class: "fold", type: "button" },
    `\u22ef ${label} that no statement rests on`,
  );
  const open = () => {
    inner.removeAttribute("hidden");
    button.remove();
  };
  button.addEventListener("click", open);
  inner.addEventListener("beforematch", open);
  return el("span", {}, button, inner);
}

// Open what is folded around an element.
export function unfold(node) {
  node.closest(".folded[hidden]")?.dispatchEvent(new Event("beforematch"));
}

// The response while it is written: statements as they end, with their supports; thoughts as a list
// of steps with what each rests on; and the words of the open sentence, which are provisional.

import { unitPreview } from "../report/bubble.js";
import { el, icon, named } from "../report/dom.js";
import { count, shorten } from "../report/format.js";
import { statement } from "../report/statement.js";

const MOST = 3; // provisional supports that are named
const QUOTE = 40; // characters of a passage

export function createLiveResponse(store, { reveal }) {
  const { trace } = store;
  const steps = el("ol", { class: "steps" });
  const counted = el("span", { class: "quiet" });
  const thought = el(
    "div",
    { class: "section thought", hidden: true },
    el("h3", {}, "Thought ", counted),
    steps,
  );
  const chunk = el("div", { class: "chunk" });
  const heading = el("h3", { hidden: true }, "Answer");
  const answer = el("div", { class: "section answer" }, heading, chunk);
  const words = el("span", { class: "open-words", dir: "auto" });
  const maybe = el("span", { class: "maybe" });
  const open = el("div", { class: "statement open", hidden: true }, words, maybe);
  const end = el("div", { class: "end" });
  const awaited = el("p", { class: "awaited" }, "The response appears here as it is written.");
  // Statements are read out as they end; the open words change too often for that.
  const log = el("div", { role: "log", "aria-label": "Statements" }, thought, answer);
  const body = el("div", { class: "body", "data-layout": "lines" }, log, awaited, end);
  const follow = el("input", { type: "checkbox", role: "switch" });
  follow.checked = true;
  const node = el(
    "section",
    { class: "response pane", "aria-label": "Response" },
    el(
      "header",
      { class: "pane-head" },
      el("h2", {}, "Response"),
      el("label", { class: "switch" }, follow, "Follow"),
    ),
    body,
  );

  // Whoever scrolls wants to look, and not to be carried on.
  for (const event of ["wheel", "touchmove"])
    body.addEventListener(event, () => (follow.checked = false), { passive: true });

  const stay = () => {
    if (follow.checked) body.scrollTop = body.scrollHeight;
  };

  const select = (target) => {
    const ref = target.closest("[data-ref]");
    const line = target.closest("[data-statement]");
    if (!line) return;
    follow.checked = false;
    const selection = { kind: "span", index: Number(line.dataset.statement) };
    if (ref) store.pin(selection, { reveal: Number(ref.dataset.ref) });
    else if (target.closest("[data-span]")) store.toggle(selection);
  };
  body.addEventListener("click", (event) => select(event.target));
  body.addEventListener("keydown", (event) => {
    if (!event.target.matches("[data-span]") || !["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    select(event.target);
  });

  store.subscribe(() => {
    const { active, pinned } = store;
    const { spans } = store.evidence(active);
    for (const line of body.querySelectorAll("[data-statement]")) {
      const index = Number(line.dataset.statement);
      line.classList.toggle("on", active?.kind === "span" && spans.has(index));
      line.classList.toggle("rests", active?.kind === "unit" && spans.has(index));
      const pressed = pinned?.kind === "span" && pinned.index === index;
      line.querySelector("[data-span]").setAttribute("aria-pressed", String(pressed));
    }
  });

  const settle = (section) => {
    awaited.hidden = true;
    const home = section === "thought" ? thought : answer;
    if (open.parentElement !== home) home.append(open);
    if (section === "thought") thought.hidden = false;
    else heading.hidden = thought.hidden;
  };

  return {
    node,
    body,
    following: () => follow.checked,
    add(index) {
      const span = trace.spans[index];
      const line = statement(trace, index, false);
      line.querySelector("[data-span]").tabIndex = 0;
      settle(span.section);
      if (span.section === "thought") {
        const strongest = span.supports[0];
        const look = strongest
          ? el("div", { class: "step-look" }, unitPreview(trace, strongest.unit))
          : null;
        steps.append(el("li", { class: "step" }, line, look));
        counted.textContent = `· ${count(steps.childElementCount, "step")}`;
      } else chunk.append(line);
      this.write("", span.section);
      if (follow.checked && span.supports.length) reveal(span.supports[0].unit);
      stay();
    },
    // The words that are in no statement yet, and what supports them as far as is known.
    write(text, section, supports = null) {
      settle(section);
      open.hidden = !text.trim();
      words.textContent = text.trimStart();
      if (!text) maybe.replaceChildren();
      if (supports) maybe.replaceChildren(...provisional(trace, supports));
      stay();
    },
    finish(...said) {
      open.classList.add("ended");
      awaited.hidden = true;
      end.replaceChildren(...said);
      stay();
    },
  };
}

function provisional(trace, supports) {
  if (!supports.length) return [];
  const chips = supports.slice(0, MOST).map(({ unit: index }) => {
    const unit = trace.units[index];
    const part = trace.parts[unit.part];
    const where = unit.kind === "text" ? shorten(unit.quote ?? "", QUOTE) : unit.place;
    return el(
      "span",
      { class: `chip k-${unit.kind}` },
      icon(unit.kind),
      named(`${part.title ?? part.name} · ${where}`),
    );
  });
  return [el("span", { class: "provisional-word" }, "Provisional"), ...chips];
}

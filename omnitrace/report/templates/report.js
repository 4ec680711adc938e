"use strict";
// Moves the highlights: everything that is highlighted is in the page already, marked with the
// indices of its units. All text goes in through textContent.
(() => {
  const traces = JSON.parse(document.getElementById("omnitrace-data").textContent);
  const percent = (value) => `${Math.round(100 * value)}%`;

  const element = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const showing = (root, index) => root.querySelectorAll(`.sources [data-units~="${index}"]`);

  // Scroll a long text to its highlight, without moving the page under the reader.
  const reveal = (mark) => {
    const box = mark.closest(".prose");
    if (!box || box.scrollHeight <= box.clientHeight) return;
    const offset = mark.getBoundingClientRect().top - box.getBoundingClientRect().top;
    if (offset < 0 || offset > box.clientHeight - 40) {
      box.scrollTop += offset - box.clientHeight / 3;
    }
  };

  const supportItem = (root, support) => {
    const item = element("li", "support");
    const button = element("button");
    button.type = "button";
    button.append(element("span", "badge", support.rank));
    const body = element("span", "body");
    const head = element("span", "head");
    head.append(element("b", "", support.source), element("span", "quiet", support.unit));
    body.append(head);
    if (support.quote) body.append(element("q", "quote", support.quote));
    else body.append(element("span", "place", support.place));
    const bar = element("span", "share");
    const fill = element("i");
    fill.style.width = percent(support.share);
    bar.append(fill);
    const figures = [support.kind ?? `share ${percent(support.share)}`, `mass ${percent(support.mass)}`];
    if (support.effect !== null) {
      const nats = (value) => `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`;
      const interval = support.interval ? ` [${support.interval.map(nats).join(", ")}]` : "";
      figures.push(`effect ${nats(support.effect)} nats${interval}`);
    }
    body.append(bar, element("span", "figures quiet", figures.join(" · ")));
    button.append(body);
    button.addEventListener("click", () => {
      const marks = showing(root, support.index);
      if (!marks.length) return;
      reveal(marks[0]);
      marks[0].scrollIntoView({ block: "center", behavior: "smooth" });
      for (const mark of marks) {
        mark.classList.remove("pulse");
        void mark.getBoundingClientRect();
        mark.classList.add("pulse");
      }
    });
    item.append(button);
    return item;
  };

  for (const root of document.querySelectorAll("[data-trace]")) {
    const spans = traces[Number(root.dataset.trace)].spans;
    const chips = [...root.querySelectorAll("[data-span]")];
    const inspector = root.querySelector(".inspector");
    root.querySelector("details.all").open = false;

    const select = (chip) => {
      const span = spans[Number(chip.dataset.span)];
      for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
      for (const mark of root.querySelectorAll(".sources .on")) {
        mark.classList.remove("on", "pulse");
        mark.removeAttribute("data-rank");
      }
      const most = Math.max(...span.supports.map((support) => support.share), 1e-9);
      // Weakest first, so that the strongest of several on one element has the last word.
      for (const support of [...span.supports].sort((a, b) => b.rank - a.rank)) {
        for (const mark of showing(root, support.index)) {
          mark.classList.add("on");
          mark.dataset.rank = support.rank;
          mark.style.setProperty("--strength", (support.share / most).toFixed(3));
        }
      }
      const text = root.querySelector(".sources .piece.on");
      if (text) reveal(text);

      inspector.hidden = false;
      inspector.querySelector(".which").textContent = `${Number(chip.dataset.span) + 1} of ${spans.length}`;
      const grounding = inspector.querySelector(".grounding");
      grounding.querySelector("b").textContent = percent(span.grounding);
      grounding.querySelector("i").style.width = percent(span.grounding);
      const live = inspector.querySelector(".live");
      live.className = span.ungrounded ? "live warning" : "live hidden";
      live.textContent = span.ungrounded
        ? `${span.tag[0].toUpperCase()}${span.tag.slice(1)}: ${span.why}; ${percent(span.grounding)} of its signal lies on sources.`
        : `${span.supports.length} supports`;
      inspector.querySelector(".supports").replaceChildren(
        ...span.supports.map((support) => supportItem(root, support)),
      );
    };

    chips.forEach((chip, index) => {
      chip.addEventListener("click", () => select(chip));
      chip.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Enter" || event.key === " ") {
          select(chip);
        } else if (step && chips[index + step]) {
          chips[index + step].focus();
          select(chips[index + step]);
        } else {
          return;
        }
        event.preventDefault();
      });
    });
    if (chips.length) select(chips[0]);
  }
})();

// A run that waits, or is being written: its state on top, the sources, and the response.

import { el, icon } from "../report/dom.js";
import { clock, count } from "../report/format.js";
import { createSheet } from "../report/sheet.js";
import { createSources } from "../report/sources.js";
import { createLiveResponse } from "./live-response.js";
import { cite, createLiveStore } from "./live-store.js";
import { problem } from "./messages.js";

// `cancel` is what the button does.
export function createLive(run, { cancel }) {
  const state = el("span", { class: "state", role: "status" });
  const figures = el("span", { class: "quiet figures", "aria-hidden": "true" });
  const stop = el("button", { class: "button stop", type: "button" }, icon("stop"), "Cancel");
  const title = el("h1", { dir: "auto" }, run.title || "New run");
  const waiting = el("div", { class: "waiting" });
  const stage = el("main", { class: "stage-area" }, waiting);
  const node = el(
    "div",
    { class: "app live" },
    el(
      "header",
      { class: "live-header" },
      el("div", { class: "top" }, state, figures, el("span", { class: "space" }), stop),
      el("div", { class: "head live-head" }, title),
    ),
    stage,
  );

  let store = null;
  let sources = null;
  let response = null;
  let tokens = [];
  let from = 0; // the first token that is in no span
  let section = "answer";
  let written = 0;

  stop.addEventListener("click", async () => {
    stop.disabled = true;
    say("Cancelling…", "running");
    try {
      await cancel();
    } catch (error) {
      stop.disabled = false;
      end(problem(error, { title: "Not cancelled" }));
    }
  });

  const say = (text, kind) => {
    const dot = el("i", { class: "state-dot", "aria-hidden": "true" });
    if (state.textContent !== text) state.replaceChildren(dot, text); // it is read out
    state.dataset.state = kind;
  };

  const wait = (title, text) =>
    waiting.replaceChildren(
      el("div", { class: "pulse-dot", "aria-hidden": "true" }),
      el("p", { class: "waiting-title" }, title),
      el("p", { class: "quiet" }, text),
    );

  const end = (...said) => {
    if (response) response.finish(...said);
    else waiting.replaceChildren(...said);
  };

  const handlers = {
    queued({ position, seconds }) {
      const long = seconds ? ` It may take about ${clock(Math.max(1, Math.round(seconds)))}.` : "";
      say(position > 0 ? `Waiting, ${position} before it` : "Waiting", "queued");
      wait(
        position > 0 ? `${count(position, "request")} before yours` : "Yours is next",
        `One model answers one request after the other.${long}`,
      );
    },
    started() {
      say("Reading the request", "running");
      wait(
        "Reading the request",
        "Files are decoded, cut into source units and given to the model.",
      );
    },
    units(view) {
      store = createLiveStore(view);
      sources = createSources(store, { heat: 0 });
      response = createLiveResponse(store, { reveal: (unit) => sources.reveal(unit, true) });
      store.subscribe(() =>
        sources.scroller.classList.toggle("provisional", store.active?.kind === "open"),
      );
      // Before anything is cited nothing in them takes the focus, by which keys scroll.
      sources.scroller.tabIndex = 0;
      response.body.tabIndex = 0;
      const side = el("div", { class: "side-pane" }, response.node);
      createSheet(side);
      stage.replaceChildren(el("div", { class: "panes" }, sources.node, side));
      say("Writing", "running");
    },
    token(token) {
      tokens[token.index] = token.section ? token.text : ""; // a marker of thoughts belongs to none
      section = token.section ?? section;
      written = Math.max(written, token.index + 1);
      figures.textContent = count(written, "token");
      response?.write(openText(), section);
    },
    provisional(span) {
      if (!store) return;
      store.open(span.supports);
      response.write(openText() || span.text, span.section, span.supports);
    },
    span(span) {
      if (!store) return;
      from = span.tokens[1];
      const fresh = store.add(liveSpan(span));
      for (const unit of fresh) cite(sources, store, unit);
      response.add(store.trace.spans.length - 1);
      store.show();
      response.write(openText(), section);
    },
    verifying() {
      response?.write("", section);
      say("Verifying by ablation", "running");
    },
    end() {
      stop.hidden = true;
      store?.rest();
      say("Done", "done");
    },
    failed({ error }) {
      stop.hidden = true;
      store?.rest();
      say("Failed", "failed");
      end(problem(error, { title: "The run failed" }), newRequest());
    },
    cancelled({ reason }) {
      stop.hidden = true;
      store?.rest();
      say("Cancelled", "cancelled");
      const when = written ? `after ${count(written, "token")}` : "before the model wrote anything";
      const why = reason === "abandoned" ? ": no page followed it" : "";
      end(el("p", { class: "ended" }, `Cancelled ${when}${why}.`), newRequest());
    },
  };

  const openText = () => tokens.slice(from).join("");

  return {
    node,
    on: (event) => handlers[event.type]?.(event.data),
    lost: (is) => node.classList.toggle("lost", is),
    say,
    clear: () => store?.pin(null),
  };
}

function newRequest() {
  const link = el("a", { class: "button", href: "#" }, icon("plus"), "New request");
  return el("p", { class: "row" }, link);
}

// What the viewer's modules read of a span.
function liveSpan(span) {
  const strong = span.supports.some((support) => support.strength === "strong");
  return {
    section: span.section,
    text: span.text,
    tokens: span.tokens,
    strength: span.supports.length ? (strong ? "strong" : "weak") : "no source found",
    supports: span.supports.map((support) => ({ right: null, ...support })),
    truth: null,
  };
}

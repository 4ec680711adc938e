// What goes wrong, in a box that is read out, and the question for the token.

import { el, isolated } from "../report/dom.js";

const TITLES = {
  unreachable: "The server cannot be reached",
  too_busy: "The server is busy",
  too_large: "That is too large",
};

// A box about an error; `again` and `close` are what its buttons do, where they are given.
export function problem(error, { again = null, close = null, title = null } = {}) {
  const buttons = [
    again ? el("button", { class: "button", type: "button", onclick: again }, "Try again") : null,
    close ? el("button", { class: "button", type: "button", onclick: close }, "Close") : null,
  ].filter(Boolean);
  const wait = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("p", {}, el("strong", {}, title ?? TITLES[error.code] ?? "That did not work")),
    el("p", {}, isolated(sentence(error.message)), wait),
    error.legal ? el("p", { class: "quiet" }, "Expected: ", isolated(stopped(error.legal))) : null,
    error.fix ? el("p", {}, isolated(sentence(error.fix))) : null,
    buttons.length ? el("p", { class: "row" }, buttons) : null,
  );
}

// A message as a sentence. The name of a file at its beginning stays as it is.
export function sentence(text) {
  const words = stopped(text);
  return /^[a-z]+,?\s/.test(words) ? words.charAt(0).toUpperCase() + words.slice(1) : words;
}

function stopped(text) {
  const words = String(text).trim();
  return /[.!?…]$/.test(words) ? words : `${words}.`;
}

// Ask for the token in a dialog until one is given. It is kept for this tab only.
export function askToken(root, wrong) {
  const field = el("input", {
    type: "password",
    id: "token",
    autocomplete: "off",
    required: true,
    "aria-describedby": wrong ? "token-wrong" : null,
  });
  const dialog = el(
    "dialog",
    { class: "dialog", "aria-labelledby": "token-title" },
    el(
      "form",
      { method: "dialog" },
      el("h1", { id: "token-title" }, "This server needs a token"),
      el(
        "p",
        { class: "quiet" },
        "Whoever started it with --token knows it. It is kept in this tab.",
      ),
      wrong
        ? el("p", { class: "alarm", id: "token-wrong", role: "alert" }, "That token is wrong.")
        : null,
      el("label", { for: "token" }, "Token"),
      field,
      el("p", { class: "row end" }, el("button", { class: "button primary" }, "Continue")),
    ),
  );
  root.append(dialog);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(field.value);
    });
  });
}

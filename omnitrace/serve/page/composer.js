// A new request: files and documents, what is asked, how it is traced.

import { el, icon } from "../report/dom.js";
import { problem } from "./messages.js";
import { createOptions } from "./options.js";
import { createParts } from "./parts.js";

const ACCEPT = {
  image: "image/*",
  audio: "audio/*",
  video: "video/*",
  text: "text/*,.md,.csv,.json,.jsonl",
};

const LEGEND = [
  ["dashed", "", "Provisional", "What the open sentence rests on so far. It may still change."],
  [
    "solid",
    "1",
    "A source",
    "Numbered when the sentence has ended: a passage, a region, some seconds.",
  ],
  [
    "good",
    "\u2713",
    "Verified",
    "Sources are hidden and the response is measured again, when you ask for it.",
  ],
];

export function createComposer(api, about, { sent }) {
  const modalities = about.modalities ?? ["text"];
  const parts = createParts(api, about, () => update());
  const options = createOptions(about);
  const failure = el("div", {});
  let sending = false;

  const chooser = el("input", {
    type: "file",
    multiple: true,
    hidden: true,
    accept: [...new Set([...modalities, "text"])].map((kind) => ACCEPT[kind]).join(","),
    "aria-label": "Files",
  });
  const addFiles = (files) => {
    for (const file of files) parts.addFile(file);
  };
  chooser.addEventListener("change", () => {
    addFiles(chooser.files);
    chooser.value = "";
  });

  const question = el("textarea", {
    id: "question",
    rows: "2",
    dir: "auto",
    placeholder: "Ask about them…",
    "aria-describedby": "send-hint",
  });
  const send = el("button", { class: "button primary send", type: "submit" }, icon("send"), "Send");
  const hint = el("p", { class: "quiet hint", id: "send-hint", role: "status" });

  const clear = el("button", { class: "button ghost clear", type: "button" }, "Start over");
  clear.addEventListener("click", () => {
    parts.clear();
    question.value = "";
    failure.replaceChildren();
    update();
    question.focus();
  });

  const update = () => {
    const { waiting, broken } = parts.state();
    options.offer(parts.kinds());
    const why = waiting
      ? "Files are being uploaded."
      : broken
        ? "Remove the file that was not added, or replace it."
        : question.value.trim()
          ? ""
          : "Type what you ask.";
    send.setAttribute("aria-disabled", String(Boolean(why) || sending));
    clear.hidden = !parts.state().count && !question.value;
    hint.textContent = why || "Ctrl + Enter sends.";
    return !why && !sending;
  };

  const submit = async (event) => {
    event.preventDefault();
    failure.replaceChildren();
    if (!update()) {
      if (!question.value.trim()) question.focus();
      return;
    }
    sending = true;
    update();
    try {
      sent((await start()).run);
    } catch (error) {
      failure.replaceChildren(problem(error, { title: error.code ? null : "Not sent" }));
    } finally {
      sending = false;
      update();
    }
  };

  const asked = () => {
    const content = [...parts.content(), { type: "text", text: question.value.trim() }];
    return { messages: [{ role: "user", content }], ...options.value(parts.kinds()) };
  };

  const start = async () => {
    try {
      return await api.start(asked());
    } catch (error) {
      if (error.status !== 404) throw error;
      await parts.uploadAgain();
      return api.start(asked());
    }
  };

  question.addEventListener("input", update);
  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  const kinds = modalities.filter((kind) => kind !== "text");
  const form = el(
    "form",
    { class: "composer", novalidate: true, onsubmit: submit },
    el(
      "div",
      { class: "box" },
      el(
        "div",
        { class: "add" },
        el(
          "button",
          { class: "button", type: "button", onclick: () => chooser.click() },
          icon("plus"),
          "Add files",
        ),
        el(
          "button",
          { class: "button", type: "button", onclick: () => parts.addText().field.focus() },
          icon("text"),
          "Add a text",
        ),
        el(
          "p",
          { class: "quiet drop-hint" },
          `or drop ${listed([...kinds.map(plural), "texts"])} here`,
        ),
        clear,
        chooser,
      ),
      parts.node,
      el("label", { class: "ask-label", for: "question" }, "Question"),
      question,
      el("div", { class: "send-row" }, options.signal, el("div", { class: "send-side" }, send)),
      hint,
      failure,
    ),
    options.node,
  );
  const node = el(
    "main",
    { class: "compose" },
    el(
      "div",
      { class: "intro" },
      el("h1", {}, "What does the answer rest on?"),
      el(
        "p",
        { class: "quiet" },
        "Give the model files and documents and ask. While it writes, you see which sentences, " +
          "image regions and seconds support each statement.",
      ),
    ),
    form,
    el("ul", { class: "legend-row", "aria-label": "What you will see" }, LEGEND.map(legend)),
  );

  // Files may be dropped anywhere, and pasted.
  let depth = 0;
  const over = (by) => {
    depth = by === 0 ? 0 : Math.max(0, depth + by);
    node.classList.toggle("dropping", depth > 0);
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  node.addEventListener("dragenter", (event) => hasFiles(event) && over(1));
  node.addEventListener("dragleave", (event) => hasFiles(event) && over(-1));
  node.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  node.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(0);
    addFiles(event.dataTransfer.files);
  });
  node.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    addFiles(event.clipboardData.files);
  });

  return {
    node,
    // The last request is still there, to be changed and sent again.
    enter() {
      update();
      question.select();
      // On a phone the focus would bring the keyboard over the page.
      if (matchMedia("(pointer: fine) and (min-width: 801px)").matches)
        question.focus({ preventScroll: true });
    },
    leave() {},
  };
}

function legend([look, sign, name, text]) {
  return el(
    "li",
    {},
    el("span", { class: `sample ${look}`, "aria-hidden": "true" }, sign),
    el("b", {}, name),
    el("span", { class: "quiet" }, text),
  );
}

function listed(names) {
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} or ${names.at(-1)}` : names[0];
}

function plural(kind) {
  return kind === "image" ? "images" : kind === "video" ? "videos" : kind;
}

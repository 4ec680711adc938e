// The parts of a request before it is sent: files that are uploaded at once, and texts with names.

import { el, icon, iconButton, named } from "../report/dom.js";
import { clock } from "../report/format.js";
import { ApiError } from "./api.js";
import { problem } from "./messages.js";

const TEXTS = /\.(txt|md|markdown|csv|tsv|json|jsonl|log|html?|xml|srt|vtt)$/i;
const BLANK = { text: "Text", image: "Image", audio: "Audio", video: "Video" };

// `changed` is called whenever what would be sent has changed.
export function createParts(api, about, changed) {
  const node = el("ol", { class: "parts", "aria-label": "Parts of the request" });
  const status = el("p", { class: "unseen", role: "status" });
  let parts = [];

  const update = () => {
    node.hidden = !parts.length;
    parts.forEach((part, k) => {
      part.up.disabled = k === 0;
      part.label(k);
    });
    changed();
  };

  const add = (part) => {
    parts.push(part);
    node.append(part.node);
    update();
  };

  const remove = (part) => {
    const at = parts.indexOf(part);
    const hadFocus = part.node.contains(document.activeElement);
    parts = parts.filter((each) => each !== part);
    part.node.remove();
    part.gone();
    status.textContent = `${part.name()} is removed.`;
    update();
    if (hadFocus) (parts[Math.min(at, parts.length - 1)]?.remove ?? fallback())?.focus();
  };
  const fallback = () => node.parentElement?.querySelector("button");

  const raise = (part) => {
    const at = parts.indexOf(part);
    [parts[at - 1], parts[at]] = [part, parts[at - 1]];
    parts[at].node.before(part.node);
    update();
    (part.up.disabled ? part.remove : part.up).focus();
    status.textContent = `${part.name()} is now part ${at}.`;
  };

  const tools = { raise, remove, update };

  return {
    node: el("div", {}, node, status),
    addText: (name = "", text = "") => {
      const part = textPart(tools, name, text);
      add(part);
      return part;
    },
    async addFile(file) {
      if (file.type.startsWith("text/") || TEXTS.test(file.name)) {
        const most = about.limits?.body_bytes;
        if (!most || file.size <= most) {
          add(textPart(tools, file.name, await file.text()));
          return;
        }
      }
      add(filePart(tools, api, about, file));
    },
    clear() {
      for (const part of parts) part.gone();
      parts = [];
      node.replaceChildren();
      update();
    },
    kinds: () => new Set(parts.map((part) => part.kind()).filter(Boolean)),
    // The server keeps uploads for a while only.
    uploadAgain: () => Promise.all(parts.map((part) => part.again())),
    state: () => ({
      count: parts.length,
      waiting: parts.some((part) => part.waiting()),
      broken: parts.some((part) => part.broken()),
    }),
    content: () => parts.map((part) => part.value()).filter(Boolean),
  };
}

function card(tools, part, kind, body) {
  part.up = iconButton("up", "Move up", () => tools.raise(part));
  part.remove = iconButton("close", "Remove", () => tools.remove(part));
  const symbol = el("span", { class: "symbol" }, icon(kind));
  part.node = el(
    "li",
    { class: `part-card k-${kind}` },
    el("div", { class: "part-card-head" }, symbol, ...body.head, part.up, part.remove),
    ...body.rest,
  );
  part.label = (k) => {
    const name = `part ${k + 1}, ${part.name()}`;
    part.up.setAttribute("aria-label", `Move up ${name}`);
    part.remove.setAttribute("aria-label", `Remove ${name}`);
  };
  part.become = (other) => {
    part.node.className = `part-card k-${other}`;
    symbol.replaceChildren(icon(other));
  };
  return part;
}

function textPart(tools, name, text) {
  const title = el("input", {
    class: "bare-field",
    type: "text",
    value: name,
    placeholder: "Name of the document",
    "aria-label": "Name of the document",
    maxlength: "200",
    oninput: () => tools.update(),
  });
  const field = el("textarea", {
    rows: "4",
    placeholder: "Paste or type a document that the answer may rest on",
    "aria-label": "Text of the document",
    dir: "auto",
    oninput: () => tools.update(),
  });
  field.value = text;
  const part = {
    field,
    kind: () => "text",
    name: () => title.value.trim() || "text",
    waiting: () => false,
    broken: () => false,
    gone() {},
    again() {},
    value: () =>
      field.value.trim()
        ? {
            type: "text",
            text: field.value,
            ...(title.value.trim() ? { source_id: title.value.trim() } : {}),
          }
        : null,
  };
  return card(tools, part, "text", { head: [title], rest: [field] });
}

function filePart(tools, api, about, file) {
  let kind = ["image", "audio", "video"].find((each) => file.type.startsWith(`${each}/`)) ?? null;
  let upload = null;
  let failed = false;
  let stop = null;
  const address = URL.createObjectURL(file);
  const facts = el("span", { class: "quiet facts-line" }, size(file.size));
  const preview = el("div", { class: "preview" });
  const said = el("div", { class: "said-of" });

  const part = {
    kind: () => kind,
    name: () => file.name,
    waiting: () => !upload && !failed,
    broken: () => failed,
    gone() {
      stop?.abort();
      URL.revokeObjectURL(address);
      if (upload) api.discard(upload).catch(() => {}); // it goes with time anyway
    },
    again: () => send(),
    value: () => (upload ? { type: kind, upload } : null),
  };
  const head = [el("span", { class: "file-name" }, named(file.name)), facts];
  card(tools, part, kind ?? "text", { head, rest: [preview, said] });
  if (kind) preview.replaceChildren(look(kind, address, file.name));

  const send = async () => {
    failed = false;
    upload = null;
    stop = new AbortController();
    said.replaceChildren(el("p", { class: "busy", role: "status" }, "Uploading…"));
    tools.update();
    try {
      const most = about.limits?.upload_bytes;
      if (most && file.size > most) {
        throw new ApiError(413, {
          code: "too_large",
          message: `${file.name} has ${size(file.size)}`,
          legal: `a file of at most ${size(most)}`,
        });
      }
      const got = await api.upload(file, stop.signal);
      upload = got.upload;
      if (got.modality !== kind) preview.replaceChildren(look(got.modality, address, file.name));
      kind = got.modality;
      part.become(kind);
      facts.textContent = factsOf(got);
      said.replaceChildren();
    } catch (error) {
      if (error.name === "AbortError") return;
      failed = true;
      preview.replaceChildren();
      const again = error.status === 0 || error.status === 429 ? send : null;
      const title = `${BLANK[kind] ?? "File"} not added`;
      said.replaceChildren(problem(error, { title, again }));
    }
    tools.update();
  };
  send();
  return part;
}

function look(kind, address, name) {
  if (kind === "image") return el("img", { src: address, alt: `Preview of ${name}` });
  return el(kind, {
    src: address,
    controls: true,
    preload: "metadata",
    playsinline: true,
    "aria-label": name,
  });
}

function factsOf(got) {
  return [
    got.width && got.height ? `${got.width} × ${got.height} px` : null,
    got.seconds ? clock(got.seconds, 1) : null,
    size(got.bytes),
  ]
    .filter(Boolean)
    .join(" · ");
}

export function size(bytes) {
  if (bytes < 1e3) return `${bytes} bytes`;
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

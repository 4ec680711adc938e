// Elements without markup: whatever a trace says goes in as text, and never as HTML.

export function el(tag, options = {}, ...children) {
  return fill(document.createElement(tag), options, children);
}

export function svg(tag, options = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), options, children);
}

function fill(node, options, children) {
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// A text of a trace among our own words: its direction stays inside of it.
export function isolated(text, options = {}) {
  return el("bdi", { dir: "auto", ...options }, text);
}

// Characters that are not seen, but change what is: names show them as their code points.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

export function named(text, options = {}) {
  const seen = text.replace(UNSEEN, (found) => {
    return `\u2039U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u203a`;
  });
  return isolated(seen, options);
}

export function icon(kind) {
  const paths = {
    text: "M3 4h10M3 8h10M3 12h6",
    image: "M2.5 3h11v10h-11zM3 12l3.5-4 2.5 2.5 2-2 2.5 3M10.5 6h.01",
    audio: "M2.5 7v2M5.2 4.5v7M8 2.5v11M10.8 5v6M13.5 7v2",
    video: "M2 4h8.5v8H2zM10.5 7l3.5-2v6l-3.5-2",
    search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.4 10.4 14 14",
    play: "M5 3.2v9.6l8-4.8z",
    pause: "M5 3.5v9M11 3.5v9",
    theme: "M8 2.2a5.8 5.8 0 0 1 0 11.6a5.8 5.8 0 0 1 0-11.6zM8 2.2v11.6M10.2 3v10M12.2 5v6",
    previous: "M10 3.5 5.5 8l4.5 4.5",
    next: "M6 3.5 10.5 8 6 12.5",
    close: "M4 4l8 8M12 4l-8 8",
    up: "M3.5 10 8 5.5l4.5 4.5",
    plus: "M8 3v10M3 8h10",
    list: "M5.5 4H14M5.5 8H14M5.5 12H14M2 4h.01M2 8h.01M2 12h.01",
    send: "M8 13.5v-11M3.5 7 8 2.5 12.5 7",
    stop: "M4 4h8v8H4z",
    download: "M8 2.5v8M4.5 7.5 8 11l3.5-3.5M3 13.5h10",
    tune: "M2.5 5h6M12 5h1.5M2.5 11H4M7.5 11h6M10.2 3.3v3.4M5.8 9.3v3.4",
    check: "M3 8.5 6.5 12 13 4.5",
    bin: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9",
  };
  return svg(
    "svg",
    { class: `icon icon-${kind}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: paths[kind] }),
  );
}

// A button that shows a picture only; its label is for those who do not see it, and a tooltip.
export function iconButton(kind, label, onclick, options = {}) {
  const button = { class: "icon-button", type: "button", "aria-label": label, title: label };
  return el("button", { ...button, onclick, ...options }, icon(kind));
}

// Buttons of which one is pressed.
export function choice(label, names, chosen, choose) {
  const buttons = Object.entries(names).map(([value, text]) => {
    const pressed = String(value === chosen);
    return el("button", { type: "button", "aria-pressed": pressed, "data-value": value }, text);
  });
  const group = el("div", { class: "choice", role: "group", "aria-label": label }, buttons);
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
    choose(button.dataset.value);
  });
  return group;
}

export function place(node, styles) {
  for (const [name, value] of Object.entries(styles)) node.style.setProperty(name, value);
  return node;
}

// A sheet may lie over the end of a pane.
export function seenHeight(scroller) {
  return scroller.clientHeight - (parseFloat(getComputedStyle(scroller).scrollPaddingBottom) || 0);
}

const latest = new WeakMap();
const FILLED = 80; // milliseconds, after which what came into sight is filled

// Scroll a pane until an element (or a range) is in it, and nothing but the pane. What was not laid
// out yet gets its true height on the way, so it is looked at again.
export function scrollInto(scroller, node, share = 0.3, tries = 8) {
  const order = {};
  latest.set(scroller, order);
  const box = scroller.getBoundingClientRect();
  const found = node.getBoundingClientRect();
  const height = seenHeight(scroller);
  const seen = found.top >= box.top + 8 && found.bottom <= box.top + height - 8;
  if (seen || height <= 0) return;
  const by = found.top - box.top - Math.max(12, share * (height - found.height));
  const most = scroller.scrollHeight - scroller.clientHeight;
  const top = Math.min(Math.max(scroller.scrollTop + by, 0), most);
  const way = Math.abs(top - scroller.scrollTop);
  if (way < 1) return;
  const again = () =>
    latest.get(scroller) === order && scrollInto(scroller, node, share, tries - 1);
  if (tries)
    scroller.addEventListener("scrollend", () => setTimeout(again, FILLED), { once: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  scroller.scrollTo({ top, behavior: calm || way > 4000 ? "auto" : "smooth" });
}

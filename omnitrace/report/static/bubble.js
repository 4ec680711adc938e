// A bubble beside what the pointer or the focus is on: figures, or a look at a source.

import { el, icon, isolated, named } from "./dom.js";
import { clock, KINDS, nats, percent } from "./format.js";
import { SUPPORT_KINDS } from "./guide.js";

export function createBubble() {
  const node = el("div", { class: "bubble", role: "tooltip", id: "bubble", hidden: true });
  let owner = null;

  const hide = () => {
    node.hidden = true;
    owner?.removeAttribute("aria-describedby");
    owner = null;
  };

  const show = (anchor, content) => {
    if (owner && owner !== anchor) owner.removeAttribute("aria-describedby");
    owner = anchor;
    anchor.setAttribute("aria-describedby", "bubble");
    node.replaceChildren(...content);
    node.hidden = false;
    const at = anchor.getBoundingClientRect();
    const box = node.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left), innerWidth - box.width - 8);
    const below = at.bottom + box.height + 14 < innerHeight || at.top < box.height + 14;
    node.style.setProperty("left", `${left}px`);
    node.style.setProperty("top", `${below ? at.bottom + 6 : at.top - box.height - 6}px`);
  };

  return { node, show, hide };
}

// The lines of a bubble about a support of a span.
export function supportFigures(support) {
  const lines = [];
  if (support.effect !== null) {
    const interval = support.interval?.map((value) => nats(value).replace(" nats", "")).join(", ");
    lines.push(row("effect", nats(support.effect) + (interval ? ` [${interval}]` : "")));
  }
  if (support.kind) lines.push(row(support.kind, SUPPORT_KINDS[support.kind]));
  lines.push(row("share", percent(support.share)), row("signal", percent(support.mass)));
  return lines;
}

export function row(name, value) {
  return el("p", {}, el("b", {}, name), " ", value);
}

// A look at a source: its words, its corner of the image, its seconds.
export function unitPreview(trace, index) {
  const unit = trace.units[index];
  const part = trace.parts[unit.part];
  const head = el(
    "p",
    { class: `look k-${unit.kind}` },
    icon(unit.kind),
    el("b", {}, named(part.title ?? part.name)),
    el("span", { class: "quiet" }, unit.kind === "text" ? "" : unit.place),
  );
  if (unit.quote !== null) return [head, isolated(unit.quote, { class: "quote" })];
  if (part.kind === "image") return [head, crop(part, index)];
  const frame = frameOf(part, index);
  return frame
    ? [
        head,
        el("img", {
          class: "thumb",
          alt: `frame at ${clock(frame.start)}`,
          src: picture(frame.jpeg),
        }),
      ]
    : [head];
}

export function picture(base64) {
  return `data:image/jpeg;base64,${base64}`;
}

// The frame that is shown at the time when a unit begins.
export function frameOf(part, unit) {
  const range = part.ranges.find((each) => each.unit === unit);
  if (!range || range.sound) return null;
  return part.frames.findLast((frame) => frame.start <= range.start + 1e-6) ?? null;
}

function crop(part, unit) {
  const region = part.regions.find((each) => each.unit === unit);
  if (!part.preview || !region) return null;
  const numbers = region.line.match(/-?[\d.]+(e-?\d+)?/g).map(Number);
  const xs = numbers.filter((_, k) => k % 2 === 0);
  const ys = numbers.filter((_, k) => k % 2 === 1);
  const [x0, y0, x1, y1] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  const scale = Math.min(200 / Math.max(x1 - x0, 1), 140 / Math.max(y1 - y0, 1));
  const image = el("img", { alt: `${KINDS.image} region`, src: picture(part.preview) });
  image.style.setProperty("width", `${part.width * scale}px`);
  image.style.setProperty("height", `${part.height * scale}px`);
  image.style.setProperty("margin", `${-y0 * scale}px 0 0 ${-x0 * scale}px`);
  const frame = el("div", { class: "crop" }, image);
  frame.style.setProperty("width", `${(x1 - x0) * scale}px`);
  frame.style.setProperty("height", `${(y1 - y0) * scale}px`);
  return frame;
}

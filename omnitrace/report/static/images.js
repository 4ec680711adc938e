// An image among the sources: outlines of its cited regions, and the signal as heat over it.

import { el, place, svg } from "./dom.js";
import { picture } from "./bubble.js";

const MOST_HEIGHT = 27; // rem
const MOST_WIDTH = 44;
// Dark violet to yellow: seen by the colour-blind, and over pictures of any colour.
const HEAT = [
  [59, 15, 112],
  [140, 41, 129],
  [222, 73, 104],
  [254, 159, 109],
  [252, 253, 191],
];

export function imageBody(part, store, looks) {
  const { units } = store.trace;
  const box = `0 0 ${part.width} ${part.height}`;
  const heat = svg("g", { class: "heat" });
  const regions = svg("g", {});
  const drawing = svg(
    "svg",
    { viewBox: box, preserveAspectRatio: "none", "aria-hidden": "true" },
    heat,
    regions,
  );
  const frame = el("div", { class: "picture" });
  const cells = new Map();
  for (const region of part.regions) {
    const cell = svg("path", { d: region.mask, "fill-opacity": "0" });
    cells.set(region.unit, cell);
    heat.append(cell);
  }
  // Cited ones last, so that their outlines lie on top.
  const cited = part.regions.filter((region) => units[region.unit].number !== null);
  const others = part.regions.filter((region) => units[region.unit].number === null);
  for (const region of [...others, ...cited]) {
    const kind = units[region.unit].number === null ? "region" : "region cited";
    regions.append(
      svg(
        "g",
        { class: kind, "data-unit": region.unit },
        ...["mask", "halo", "edge"].map((name) =>
          svg("path", { class: name, d: name === "mask" ? region.mask : region.line }),
        ),
      ),
    );
  }
  const shown = Math.min(MOST_WIDTH, (MOST_HEIGHT * part.width) / part.height);
  place(frame, { "max-width": `${shown}rem`, "aspect-ratio": `${part.width} / ${part.height}` });
  if (part.preview) frame.append(el("img", { src: picture(part.preview), alt: part.name }));
  else frame.classList.add("blank");
  frame.append(drawing);
  for (const region of cited) {
    const { number, place: where } = units[region.unit];
    const pin = el(
      "button",
      {
        class: "no pin k-image",
        type: "button",
        "aria-pressed": "false",
        "aria-label": `Source ${number}: ${where}`,
        "data-unit": region.unit,
      },
      String(number),
    );
    place(pin, {
      left: `${(100 * region.corner[0]) / part.width}%`,
      top: `${(100 * region.corner[1]) / part.height}%`,
    });
    frame.append(pin);
  }
  const slider = el("input", {
    type: "range",
    min: "0",
    max: "100",
    value: String(looks.heat),
    "aria-label": "Opacity of the heat",
  });
  slider.addEventListener("input", () => {
    looks.heat = Number(slider.value);
    heat.style.setProperty("opacity", looks.heat / 100);
  });
  heat.style.setProperty("opacity", looks.heat / 100);
  const control = el(
    "label",
    { class: "heat-control", title: "Where the signal lies while a statement or word is chosen" },
    "Heat",
    slider,
  );

  const paint = (signal) => {
    const here = [...cells.keys()].map((unit) => signal.get(unit) ?? 0);
    const most = Math.max(...here, 0);
    let k = 0;
    for (const cell of cells.values()) {
      const weight = most > 0 ? here[k] / most : 0;
      k += 1;
      cell.setAttribute("fill", colour(weight));
      cell.setAttribute("fill-opacity", weight ? 0.25 + 0.45 * weight : 0);
    }
    frame.classList.toggle("heated", most > 0);
  };

  return { node: el("div", {}, frame, part.regions.length ? control : null), paint };
}

function colour(weight) {
  const at = weight * (HEAT.length - 1);
  const low = Math.min(Math.floor(at), HEAT.length - 2);
  const mixed = HEAT[low].map((value, k) =>
    Math.round(value + (at - low) * (HEAT[low + 1][k] - value)),
  );
  return `rgb(${mixed.join(" ")})`;
}

// At the width of a phone the response is a sheet at the bottom, with the sources above it.

import { el } from "./dom.js";

const HEIGHTS = { low: 26, half: 54, full: 86 }; // percent of the screen
const NAMES = Object.keys(HEIGHTS);

export function createSheet(node) {
  const handle = el("button", { class: "handle", type: "button" });
  let height = "half";
  // Beside the sheet, the sources know how much of them it covers.
  const size = (value) => (node.parentElement ?? node).style.setProperty("--sheet-height", value);
  const set = (name) => {
    height = name;
    size(`${HEIGHTS[name]}dvh`);
    const next = NAMES[(NAMES.indexOf(name) + 1) % NAMES.length];
    handle.setAttribute("aria-label", `Height of the response: ${name}; change to ${next}`);
  };

  let drag = null;
  handle.addEventListener("pointerdown", (event) => {
    drag = { from: event.clientY, height: node.getBoundingClientRect().height, moved: false };
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const by = drag.from - event.clientY;
    if (Math.abs(by) > 6) drag.moved = true;
    if (drag.moved) size(`${drag.height + by}px`);
  });
  handle.addEventListener("pointerup", () => {
    const now = (100 * node.getBoundingClientRect().height) / innerHeight;
    if (drag?.moved)
      set(NAMES.toSorted((a, b) => Math.abs(HEIGHTS[a] - now) - Math.abs(HEIGHTS[b] - now))[0]);
    else set(NAMES[(NAMES.indexOf(height) + 1) % NAMES.length]);
    drag = null;
  });
  handle.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      set(NAMES[(NAMES.indexOf(height) + 1) % NAMES.length]);
    }
  });
  handle.setAttribute("aria-label", "Height of the response: half; change to full");
  node.prepend(handle);
  return {
    // A source that is gone to must be seen.
    makeRoom() {
      if (height === "full") set("half");
    },
  };
}

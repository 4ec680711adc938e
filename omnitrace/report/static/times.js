// Audio as a waveform and video as a strip of frames, with the cited seconds on both.

import { el, iconButton, icon, place, svg } from "./dom.js";
import { picture } from "./bubble.js";
import { clock, ticks } from "./format.js";
import { createPlayer } from "./player.js";

export function timeBody(part, store) {
  const node = el("div", { class: "timed" });
  const percent = (time) => `${(100 * Math.min(Math.max(time / part.duration, 0), 1)).toFixed(3)}%`;
  const head = el("div", { class: "playhead", hidden: true });
  const note = el("p", { class: "quiet note" }, part.absent ?? null);
  const stage = part.kind === "video" ? createStage(part) : null;
  let player = null;
  let button = null;

  const show = (time, playing = false) => {
    place(head, { left: percent(time) });
    head.hidden = false;
    if (!player) stage?.show(time);
    if (button) {
      button.replaceChildren(icon(playing ? "pause" : "play"));
      button.setAttribute("aria-label", playing ? "Pause" : "Play");
      readout.textContent = `${clock(time, 1)} of ${clock(part.duration, 1)}`;
    }
  };
  const readout = el("span", { class: "quiet readout" }, clock(part.duration, 1));
  const fail = () => {
    note.textContent = `This browser cannot play the ${part.kind}.`;
    stage?.withoutMedia();
    controls.hidden = true;
    player = null;
  };
  const controls = el("div", { class: "controls", hidden: !part.file });
  if (part.file) {
    player = createPlayer(part, show, fail);
    button = iconButton("play", "Play", () => player?.toggle());
    controls.append(button, readout);
    stage?.use(player);
  }

  const board = el("div", { class: "board" }, lanesOf(part, store, percent), head);
  const axis = el("div", { class: "axis", "aria-hidden": "true" });
  for (const time of ticks(part.duration)) {
    axis.append(
      place(el("span", { class: time / part.duration > 0.94 ? "last" : null }, clock(time)), {
        left: percent(time),
      }),
    );
  }
  node.append(...[stage?.node, board, axis, controls, note].filter(Boolean));

  const timeAt = (event) => {
    const box = board.getBoundingClientRect();
    return (part.duration * (event.clientX - box.left)) / box.width;
  };
  board.addEventListener("click", (event) => {
    const unit = event.target.closest("[data-unit]")?.dataset.unit;
    const range = part.ranges.find((each) => String(each.unit) === unit);
    if (range) play(range);
    else if (player) player.seek(timeAt(event));
    else show(timeAt(event));
  });
  board.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && stage && !stage.playing()) stage.show(timeAt(event));
  });
  const play = (range) => {
    if (player) player.play(range.start, range.end);
    else show(range.start);
  };
  const preview = (unit) => {
    const range = part.ranges.find((each) => each.unit === unit);
    if (range && stage && !stage.playing()) stage.show(range.start);
  };
  return { node, preview };
}

// What a video shows at a time: the video itself, or the frame that is kept.
function createStage(part) {
  const image = el("img", { alt: "" });
  const label = el("span", { class: "at" });
  const node = el("div", { class: "stage" }, image, label);
  if (part.size) place(node, { "--aspect": part.size[0] / part.size[1] });
  let player = null;
  const show = (time) => {
    const frame = part.frames.findLast((each) => each.start <= time + 1e-6) ?? part.frames[0];
    node.hidden = !frame;
    if (!frame) return;
    image.src = picture(frame.jpeg);
    image.alt = `Frame at ${clock(frame.start)}`;
    label.textContent = `frame at ${clock(frame.start)}`;
  };
  show(0);
  return {
    node,
    show(time) {
      if (player?.media.readyState > 1) player.seek(time);
      else show(time);
    },
    use(made) {
      player = made;
      made.media.setAttribute("aria-label", part.name);
      made.media.addEventListener("loadeddata", () => {
        node.hidden = false;
        node.replaceChildren(made.media);
      });
      made.load();
    },
    playing: () => Boolean(player && !player.media.paused),
    withoutMedia() {
      player = null;
      node.replaceChildren(image, label);
      show(0);
    },
  };
}

function strip(part, percent) {
  const track = el("div", { class: "track strip" });
  part.frames.forEach((frame, k) => {
    const end = part.frames[k + 1]?.start ?? part.duration;
    const image = el("img", {
      src: picture(frame.jpeg),
      alt: `Frame at ${clock(frame.start)}`,
      draggable: "false",
    });
    track.append(
      place(image, { left: percent(frame.start), width: percent(Math.max(end - frame.start, 0)) }),
    );
  });
  return track;
}

function wave(part) {
  const peaks = part.wave;
  if (!peaks.length) return el("div", { class: "track bare-track" });
  const top = peaks.map((peak, i) => `${i + 0.5} ${(50 - Math.max(0.6, 46 * peak)).toFixed(2)}`);
  const bottom = peaks
    .map((peak, i) => `${i + 0.5} ${(50 + Math.max(0.6, 46 * peak)).toFixed(2)}`)
    .reverse();
  const drawing = svg("svg", {
    viewBox: `0 0 ${peaks.length} 100`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  drawing.append(svg("path", { d: `M${[...top, ...bottom].join("L")}z` }));
  return el("div", { class: "track wave" }, drawing);
}

// The pictures of a video, and its sound below them.
function lanesOf(part, store, percent) {
  const heard = part.ranges.filter((range) => range.sound);
  const seen = part.ranges.filter((range) => !range.sound);
  const bare = () => el("div", { class: "track bare-track" });
  const lanes = [];
  if (part.frames.length || seen.length)
    lanes.push([part.frames.length ? strip(part, percent) : bare(), seen]);
  if (part.wave.length || heard.length) lanes.push([wave(part), heard]);
  if (!lanes.length) lanes.push([bare(), []]);
  return lanes.map(([track, ranges]) =>
    el("div", { class: "lane" }, track, rangesOf(ranges, part, store, percent)),
  );
}

// Every interval can be chosen; cited ones are seen, and reached by keys.
function rangesOf(ranges, part, store, percent) {
  const { units } = store.trace;
  return ranges.map((range) => {
    const { number, place: where } = units[range.unit];
    const cited = number !== null;
    const sound = range.sound ? "audio" : "video";
    const label = `${cited ? `Source ${number}: ` : ""}${where}${part.file ? ", play" : ""}`;
    const bar = el(
      "button",
      {
        class: `range${cited ? " cited" : ""} k-${sound}`,
        type: "button",
        tabindex: cited ? "0" : "-1",
        "aria-label": label,
        "aria-pressed": "false",
        "data-unit": range.unit,
      },
      cited ? el("span", { class: `no k-${sound}` }, String(number)) : null,
    );
    return place(bar, {
      left: percent(range.start),
      width: percent(Math.min(range.end, part.duration) - range.start),
    });
  });
}

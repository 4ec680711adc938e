// An embedded audio or video file that plays, all of it or some seconds.

import { el } from "./dom.js";

// `show` is told the time while it plays, and null when it stops; `fail` that it cannot be played.
export function createPlayer(part, show, fail) {
  const media = el(part.kind, { preload: "auto", playsinline: true });
  let end = null;
  let loaded = false;

  const load = () => {
    if (loaded) return;
    loaded = true;
    const bytes = Uint8Array.from(atob(part.file), (letter) => letter.charCodeAt(0));
    media.src = URL.createObjectURL(new Blob([bytes]));
  };
  const follow = () => {
    show(media.currentTime, !media.paused);
    if (end !== null && media.currentTime >= end) {
      media.pause();
      end = null;
    }
    if (!media.paused) requestAnimationFrame(follow);
  };
  const start = () => media.play().catch(() => fail());
  media.addEventListener("play", follow);
  media.addEventListener("seeked", () => show(media.currentTime, !media.paused));
  media.addEventListener("pause", () => show(media.currentTime, false));
  media.addEventListener("error", () => fail());

  return {
    media,
    load,
    play(from, to) {
      load();
      end = to;
      media.currentTime = from;
      start();
    },
    toggle() {
      load();
      end = null;
      if (media.paused) start();
      else media.pause();
    },
    seek(time) {
      load();
      end = null;
      media.currentTime = time;
    },
    get time() {
      return media.currentTime;
    },
  };
}

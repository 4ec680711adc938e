// Figures in words.

export function percent(share) {
  const value = 100 * share;
  return `${value > 0 && value < 1 ? "<1" : Math.round(value)}%`;
}

export function nats(value) {
  return `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)} nats`;
}

export function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

export function clock(seconds, digits = 0) {
  if (seconds < 60) return `${Number(seconds.toFixed(digits || 2))} s`;
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${String(Math.floor(seconds - 60 * minutes)).padStart(2, "0")}`;
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];

// Round times from 0 to the end, at most as many as asked for.
export function ticks(duration, most = 7) {
  const step = STEPS.find((each) => duration / each < most) ?? duration / (most - 1);
  return Array.from({ length: Math.floor(duration / step + 1e-9) + 1 }, (_, k) => k * step);
}

export function shorten(text, length) {
  const words = text.replace(/\s+/g, " ").trim();
  return words.length > length ? `${words.slice(0, length - 1).trimEnd()}\u2026` : words;
}

export const KINDS = { text: "text", image: "image", audio: "sound", video: "video" };

// Long lists come to life piece by piece: a piece is filled shortly before it is seen.

// Returns { add(node, fill), fill(node) }. A node should hold something of about the right height
// until it is filled, such as its bare text, so that the browser's own search finds it too.
export function lazily(scroller) {
  const waiting = new Map();
  const fill = (node) => {
    const work = waiting.get(node);
    if (!work) return;
    waiting.delete(node);
    observer.unobserve(node);
    work(node);
  };
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) fill(entry.target);
    },
    { root: scroller, rootMargin: "600px 0px" },
  );
  return {
    add(node, work) {
      waiting.set(node, work);
      observer.observe(node);
    },
    fill,
    stop() {
      observer.disconnect();
      waiting.clear();
    },
  };
}

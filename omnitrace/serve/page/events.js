// Server-sent events from the body of a response: EventSource cannot send headers.

// Yields { id, type, data }, with data from JSON. The body is cancelled when its reader leaves.
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let event = blank();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      // A lone \r at the end may be the first half of \r\n.
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop();
      for (const line of lines) {
        if (line) take(event, line);
        else {
          if (event.data.length) yield { ...event, data: JSON.parse(event.data.join("\n")) };
          event = blank();
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function blank() {
  return { id: null, type: "message", data: [] };
}

function take(event, line) {
  const at = line.indexOf(":");
  const name = at < 0 ? line : line.slice(0, at);
  const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
  if (name === "data") event.data.push(value);
  else if (name === "event") event.type = value;
  else if (name === "id") event.id = Number(value);
}

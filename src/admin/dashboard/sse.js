// Server-sent events out of a stream of bytes, as the HTML standard reads them (section 9.2.6), without the browser's EventSource:
// that one can't send a token.

/// What is longer than this without a line's end isn't from lb.
const LINE_CHARACTERS_MAX = 64 * 1024 * 1024;

/// Yields `{event, data}` of each event; a comment yields `null`, as a sign of life. Ends with the stream.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const lines = new Lines();
  let event = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // an event without an empty line behind it isn't whole
      for (const line of lines.take(value)) {
        if (line === "") {
          if (data.length > 0) yield { event: event || "message", data: data.join("\n") };
          event = "";
          data = [];
        } else if (line.startsWith(":")) {
          yield null;
        } else {
          const [field, said] = parts(line);
          if (field === "event") event = said;
          else if (field === "data") data.push(said);
          // `id` and `retry` have no use here: history fills every gap.
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it has ended already
  }
}

function parts(line) {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  const said = line.slice(colon + 1);
  return [line.slice(0, colon), said.startsWith(" ") ? said.slice(1) : said];
}

/// Cuts text that comes in pieces into lines that end with CR, LF or both; a CR at the end of a piece may have its LF in the next.
class Lines {
  #rest = "";
  #isAfterCr = false;

  take(piece) {
    let text = piece;
    if (text === "") return [];
    if (this.#isAfterCr && text.startsWith("\n")) text = text.slice(1);
    this.#isAfterCr = piece.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    if (this.#rest.length > LINE_CHARACTERS_MAX) throw new Error("a line of the event stream has no end");
    return lines;
  }
}

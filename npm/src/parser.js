// The wire format of Server-Sent Events (WHATWG HTML §9.2.6).

/**
 * A function that takes the stream in pieces of any size, and calls `dispatch` with each block:
 * `{type, data, id}`, where `id` is the last one so far. `setRetry` gets milliseconds.
 */
export function parser(dispatch, setRetry) {
  let [rest, data, type, id] = ["", [], "", ""];

  function take(line) {
    if (!line) {
      if (data.length) dispatch({ type: type || "message", data: data.join("\n"), id });
      [data, type] = [[], ""];
      return;
    }
    const [, name, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
    if (name === "data") data.push(value);
    else if (name === "event") type = value;
    else if (name === "id" && !value.includes("\0")) id = value;
    else if (name === "retry" && /^\d+$/.test(value)) setRetry(Number(value));
  }

  return (piece) => {
    rest += piece;
    let from = 0;
    // A CR at the very end may be half of a CRLF.
    for (const end of rest.matchAll(/\r\n|\n|\r(?!$)/g)) {
      take(rest.slice(from, end.index));
      from = end.index + end[0].length;
    }
    rest = rest.slice(from);
  };
}

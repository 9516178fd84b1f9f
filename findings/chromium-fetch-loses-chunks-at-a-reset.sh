#!/usr/bin/env bash
# Chromium 156: a reset takes away from fetch() what had arrived, and was not read yet.
#
# Expected: a page that reads a streamed body late finds what arrived, and then the error, as with
# XMLHttpRequest in the same browser and with fetch() in Firefox.
# Seen: in Chromium the first read() fails with a TypeError, and no chunk is there, although they came
# 0.2 to 0.6 s before the reset. At an orderly end, with the same delay, all of them are there. (The
# Streams standard lets a stream that is errored drop its queue, ReadableStreamDefaultControllerError.)
# We: read each chunk at once, and continue after the last whole event that was read (npm/src).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in chromium firefox-esr python3; do
  command -v "$program" >/dev/null || { echo "$program is not installed (apt install $program)."; exit 2; }
done
cat >"$work/page.html" <<'HTML'
<!doctype html>
<script>
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  async function byFetch(path) {
    const reader = (await fetch(path)).body.getReader();
    let text = "";
    await pause(1500); // all of it arrives meanwhile
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return `${text}end`;
        text += new TextDecoder().decode(value);
      }
    } catch (error) {
      return text + error.name;
    }
  }
  function byXhr(path) {
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      let text = "";
      request.onprogress = () => { text = request.responseText; };
      request.onload = () => done(`${text}end`);
      request.onerror = () => done(`${text}error`);
      request.open("GET", path);
      request.send();
    });
  }
  (async () => {
    const seen = [await byFetch("/reset"), await byFetch("/end"), await byXhr("/reset")];
    await fetch("/seen", { method: "POST", body: seen.join(" | ") });
  })();
</script>
HTML
cat >"$work/seen.py" <<'PY'
"""seen.py PAGE COMMAND…: prints what the page finds in the browser that the command starts."""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys

RESET = struct.pack("ii", 1, 0)


def head(status, type, *more):
    fields = (f"HTTP/1.1 {status}", f"Content-Type: {type}", "X-Content-Type-Options: nosniff")
    return "\r\n".join((*fields, "Connection: close", *more, "", "")).encode()


async def main(page, command):
    seen = asyncio.get_running_loop().create_future()

    async def stream(writer, path):
        writer.write(head("200 OK", "text/event-stream", "Transfer-Encoding: chunked"))
        for text in ("one ", "two ", "three "):
            writer.write(f"{len(text):x}\r\n{text}\r\n".encode())
            await asyncio.sleep(0.2)
        if path == "/end":
            writer.write(b"0\r\n\r\n")
            return
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    async def serve(reader, writer):
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:  # a connection that the browser opened in advance
            writer.close()
            return
        path = request.split()[1]
        if path == "/":
            writer.write(head("200 OK", "text/html", f"Content-Length: {len(page)}") + page)
        elif path == "/seen":
            [size] = [line for line in request.lower().split("\r\n") if "content-length:" in line]
            seen.set_result((await reader.readexactly(int(size.split(":")[1]))).decode())
            writer.write(head("204 No Content", "text/plain"))
        elif path in ("/reset", "/end"):
            await stream(writer, path)
        else:
            writer.write(head("404 Not Found", "text/plain", "Content-Length: 0"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    browser = subprocess.Popen(
        [*command, f"http://127.0.0.1:{port}/"], start_new_session=True, **quiet
    )
    try:
        print(await asyncio.wait_for(seen, 60))
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        server.close()


asyncio.run(main(open(sys.argv[1], "rb").read(), sys.argv[2:]))
PY
see() { # COMMAND…
  timeout 90 python3 "$work/seen.py" "$work/page.html" "$@" 2>"$work/errors" ||
    { cat "$work/errors" >&2; echo "$1 could not be tried." >&2; exit 2; }
}
mkdir "$work/firefox"
chromium=$(see chromium --headless --no-sandbox --user-data-dir="$work/chromium")
firefox=$(see firefox-esr --headless --no-remote --profile "$work/firefox")
echo 'fetch, reset | fetch, end | XMLHttpRequest, reset'
echo "$(chromium --version 2>/dev/null): $chromium"
echo "$(firefox-esr --version 2>/dev/null): $firefox"
[[ $chromium == 'TypeError | one two three end | one two'* &&
  $firefox == 'one two three TypeError | one two three end | one two'* ]] ||
  { echo 'It has changed.'; exit 1; }

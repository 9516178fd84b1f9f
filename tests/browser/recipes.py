"""The recipes of the documentation: taken from the page as they stand, checked, bundled and run."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

from playwright.async_api import Browser, Route

from tests.browser.conftest import DEADLINE_SECONDS, Inbox
from tests.harness.npm import npm_packages, npm_program
from tests.harness.servers import ROOT, binary

_FILE = re.compile(r"```\w+\n(?://|#) ([\w-]+\.\w+)\n(.*?)```", re.DOTALL)
SILENCE_SECONDS = 3

type Received = tuple[str, str]
"""The type and the data of an event."""

# What is around the recipes: it gives what they receive to the test.
PROGRAMS = {
    "main.mjs": """
import { events } from "./events.mjs";
const [url, silence] = (globalThis.Deno?.args ?? process.argv.slice(2));
for await (const { event, data } of events(url, { silence: Number(silence) })) {
  console.log(JSON.stringify([event ?? "message", data]));
}
""",
    "main.py": """
import json, sys
from events import events
url, silence = sys.argv[1:]
for event in events(url, silence=int(silence) / 1000):
    print(json.dumps([event.event, event.data]), flush=True)
""",
    "main.go": """
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	milliseconds, _ := strconv.Atoi(os.Args[2])
	silence := time.Duration(milliseconds) * time.Millisecond
	err := Events(context.Background(), os.Args[1], nil, silence, func(event Event) {
		if event.Type == "" {
			event.Type = "message"
		}
		line, _ := json.Marshal([]string{event.Type, event.Data})
		fmt.Println(string(line))
	})
	fmt.Println(err)
}
""",
    "main.tsx": """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createApp, h } from "vue";
import { subscribe } from "./subscribe.js";
import { fetchEvents } from "./fetch-events.js";
import { useEvents as useReactEvents } from "./react-events.jsx";
import { useEvents as useVueEvents } from "./vue-events.js";

declare const received: (type: string, data: string) => void;
const parameters = new URLSearchParams(location.search);
const url = parameters.get("url") ?? "", silence = Number(parameters.get("silence"));
const handle = (event: MessageEvent<string>) => received(event.type, event.data);

function Listener() {
  useReactEvents(url, ["paid"], (event) => handle(event), silence);
  return <p>listening</p>;
}
const clients: Record<string, (place: HTMLElement) => unknown> = {
  EventSource: () => subscribe(url, ["paid"], handle, silence),
  React: (place) => createRoot(place).render(<StrictMode><Listener /></StrictMode>),
  Vue: (place) => createApp({
    setup: () => useVueEvents(url, ["paid"], handle, silence),
    render: () => h("p", "listening"),
  }).mount(place),
  "fetch-event-source": () =>
    fetchEvents(url, ({ event, data }) => received(event || "message", data), { silence }),
};
clients[parameters.get("client") ?? ""]?.(document.body.appendChild(document.createElement("div")));
""",
    "package.json": '{"type": "module", "dependencies": {"eventsource-parser": "*"}}',
    "tsconfig.json": json.dumps(
        {
            "compilerOptions": {
                "allowJs": True,
                "checkJs": True,
                "jsx": "react-jsx",
                "lib": ["dom", "dom.iterable", "es2024"],
                "module": "esnext",
                "moduleResolution": "bundler",
                "noEmit": True,
                "noUncheckedIndexedAccess": True,
                "skipLibCheck": True,
                "strict": True,
                "target": "es2024",
                "types": [],
            },
            "files": ["main.tsx"],
        }
    ),
}
RUNTIMES = ["Node", "Bun", "Deno", "Python"]
if os.environ.get("CI") or shutil.which("go"):
    RUNTIMES.append("Go")
IN_BROWSERS = ("EventSource", "React", "Vue", "fetch-event-source")


def recipes(page: str = "clients.md") -> dict[str, str]:
    """The files that a page of the documentation shows, by the name in their first line."""
    return dict(_FILE.findall((ROOT / "docs" / page).read_text()))


def write_project(folder: Path) -> None:
    """A folder with the recipes and with what runs them."""
    for name, text in {**recipes(), **PROGRAMS}.items():
        (folder / name).write_text(text)
    if "Go" in RUNTIMES:
        build = [binary("go"), "build", "-o", "main", "events.go", "main.go"]
        subprocess.run(build, cwd=folder, timeout=4 * DEADLINE_SECONDS, check=True)
    (folder / "node_modules").symlink_to(npm_packages(), target_is_directory=True)


def type_errors(folder: Path) -> str:
    """What TypeScript says against the project in this folder."""
    done = subprocess.run(
        [npm_program("tsc"), "--project", str(folder), "--pretty", "false"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


def bundle(folder: Path) -> str:
    """The script that runs one of the recipes in a page."""
    options = ["--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning"]
    done = subprocess.run(
        [npm_program("esbuild"), "main.tsx", *options, '--define:process.env.NODE_ENV="test"'],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    return done.stdout


def _command(client: str) -> list[str]:
    return {
        "Node": lambda: [binary("node"), "main.mjs"],
        "Bun": lambda: [npm_program("bun"), "main.mjs"],
        "Deno": lambda: [npm_program("deno"), "run", "--quiet", "--allow-net", "main.mjs"],
        "Python": lambda: [sys.executable, "main.py"],
        "Go": lambda: ["./main"],
    }[client]()


@asynccontextmanager
async def in_runtime(client: str, folder: Path, url: str) -> AsyncIterator[Inbox[Received]]:
    """What the recipe receives in a process of its own, which ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(*_command(client), url, str(SILENCE_SECONDS * 1000)),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        limit=1 << 20,
    )
    inbox = Inbox[Received]()

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                type_, data = json.loads(line)
            except ValueError:
                type_, data = "output", line.decode()
            inbox.put((type_, data))

    reading = asyncio.create_task(read())
    try:
        yield inbox
    finally:
        process.kill()
        await process.wait()
        await reading


@asynccontextmanager
async def in_browser(
    client: str, browser: Browser, script: str, origin: str, path: str
) -> AsyncIterator[Inbox[Received]]:
    """What the recipe receives in a tab of its own, which closes with the block."""
    inbox = Inbox[Received]()

    async def answer(route: Route) -> None:
        is_script = route.request.url.endswith(".js")
        await route.fulfill(
            content_type="text/javascript" if is_script else "text/html",
            body=script
            if is_script
            else '<!doctype html><script type="module" src="/a.js"></script>',
        )

    tab = await browser.new_page()
    tab.on("pageerror", lambda error: inbox.put(("error", str(error))))
    await tab.expose_function("received", lambda *event: inbox.put(event))
    await tab.route(re.compile(r"/a\.(html|js)"), answer)
    parameters = {"client": client, "url": path, "silence": str(SILENCE_SECONDS * 1000)}
    try:
        await tab.goto(f"{origin}/a.html?{urlencode(parameters)}")
        yield inbox
    finally:
        await tab.close()

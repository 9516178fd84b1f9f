"""Tabs of a real Firefox, which `firefox.mjs` drives."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Self

from tests.harness.npm import npm_packages
from tests.harness.servers import binary

SCRIPT = Path(__file__).with_suffix(".mjs")
DEADLINE_SECONDS = 60.0


class Firefox:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.answers = True
        """No command is without its answer, which a later command would get."""

    @classmethod
    async def start(cls, home: Path) -> Self:
        process = await asyncio.create_subprocess_exec(
            *(binary("node"), str(SCRIPT), binary("firefox")),
            cwd=npm_packages().parent,
            env={**os.environ, "HOME": str(home)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        started = cls(process)
        try:
            assert process.stdout
            async with asyncio.timeout(4 * DEADLINE_SECONDS):
                assert await process.stdout.readline() == b"started\n"
        except BaseException:
            await started.end()
            raise
        return started

    async def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._process.wait()

    async def ask(self, **command: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        async with self._turn, asyncio.timeout(DEADLINE_SECONDS):
            self.answers = False
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            answer = json.loads(await self._process.stdout.readline())
            self.answers = True
        assert "error" not in answer, answer
        return answer["result"]

    async def go(self, tab: int, url: str) -> None:
        """Leave the page of this tab for another one."""
        assert await self.ask(go=url, tab=tab) == 200

    async def evaluate(self, tab: int, code: str) -> Any:
        return await self.ask(tab=tab, evaluate=code)

"""A real quota service on a free port of this machine, honest or not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

Script = Callable[[dict[str, Any]], Any]
"""Question to what is sent: a dict is a good answer, an int an error status, bytes are sent as they are, None is silence."""


class Server:
    """Counts who holds what. ``capacity`` is in trials; ``script`` may answer instead, by returning something but ``...``."""

    def __init__(self, capacity: int = 10**6, script: Script | None = None, errors: float = 0.0) -> None:
        self.capacity = capacity
        self.script = script
        self.errors = errors
        self.random = random.Random(7)
        self.holds: dict[str, str] = {}
        self.questions: list[dict[str, Any]] = []
        self.released: list[str] = []
        self.most = 0
        self.failed = 0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/quota"

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[Server]:
        """Serve while inside."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            question = json.loads(await reader.readexactly(length)) | {"head": head.decode()}
            await self._say(writer, self._answer(question))
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the other side went away, as one that times out does
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, answer: Any) -> None:
        if answer is None:
            await asyncio.sleep(3600)
        if isinstance(answer, int):
            answer = f"HTTP/1.1 {answer} No\r\nContent-Length: 0\r\n\r\n".encode()
        if isinstance(answer, dict):
            body = json.dumps(answer).encode()
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for part in answer if isinstance(answer, list) else [answer]:
            writer.write(part)
            await writer.drain()
            if isinstance(answer, list):
                await asyncio.sleep(0.02)

    def _answer(self, question: dict[str, Any]) -> Any:
        self.questions.append(question)
        uid = question["trial"]["uid"]
        if self.errors and self.random.random() < self.errors:
            self.failed += 1
            return 500
        said = self.script(question) if self.script is not None else ...
        if said is not ...:
            return said
        if question["verb"] == "release":
            self.holds.pop(uid, None)
            self.released.append(uid)
            return {}
        if uid not in self.holds and len(self.holds) >= self.capacity:
            return {
                "verdict": "wait",
                "reason": f"{len(self.holds)} of {self.capacity} are taken",
                "retryAfterSeconds": 1,
            }
        self.holds[uid] = question["trial"]["name"]
        self.most = max(self.most, len(self.holds))
        return {"verdict": "admit"}

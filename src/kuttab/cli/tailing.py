"""What ``kuttab logs`` prints: the file that a trial's program writes, as it grows if asked to."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import BinaryIO

from kuttab.api import kinds, trial
from kuttab.base import errors
from kuttab.rules import trial_state
from kuttab.wiring import collecting, reading
from kuttab.wiring import settings as settings_

CHUNK = 1 << 16
POLL = 0.2


async def show(settings: settings_.Settings, name: str, *, follow: bool, tail: int) -> None:
    """Print a trial's log. Raises NotFoundError when there is no such trial or it printed nothing yet."""
    async with reading.reach(settings) as found:
        await reading.find(found.objects, kinds.TRIAL, name, None)
        path = collecting.log_file(settings, name)
        if path is None:
            if not follow:
                raise errors.NotFoundError(
                    f"trial {name} has no log yet; follow it with -f, or see: kuttab explain {name}"
                )
            path = await _wait_for(settings, name)
        with path.open("rb") as file:
            if tail >= 0:
                _seek_tail(file, tail)
            _copy(file)
            while follow and not await _finished(found.objects, name):
                await asyncio.sleep(POLL)
                _copy(file)
            _copy(file)


async def _wait_for(settings: settings_.Settings, name: str) -> Path:
    while True:
        path = collecting.log_file(settings, name)
        if path is not None:
            return path
        await asyncio.sleep(POLL)


async def _finished(objects: object, name: str) -> bool:
    found = await reading.find(objects, kinds.TRIAL, name, None)
    return isinstance(found, trial.Trial) and trial_state.finished(found)


def _copy(file: BinaryIO) -> None:
    while chunk := file.read(CHUNK):
        sys.stdout.buffer.write(chunk)
    sys.stdout.flush()


def _seek_tail(file: BinaryIO, lines: int) -> None:
    """Stand before the last so many lines, reading backwards."""
    end = file.seek(0, 2)
    position, seen = end, 0
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        chunk = file.read(size)
        for i in range(len(chunk) - 1, -1, -1):
            last_byte = position + i == end - 1
            if chunk[i : i + 1] == b"\n" and not last_byte:
                seen += 1
                if seen == lines:
                    file.seek(position + i + 1)
                    return
    file.seek(0)

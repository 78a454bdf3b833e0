"""Metric rows out of a folder of TensorFlow event files.

Katib's rules: every file below the folder is tried; a tag belongs to metric ``m`` when it begins with the part of ``m`` after the
last ``/`` and the file's folder ends with the part before it, if there is one. Ours: files are followed while they grow; a record that
is damaged costs itself only; rows of one look are ordered by their wall time. The folder belongs to a trial: no symbolic links, and
limits on files, depth and bytes.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kuttab.api.metrics import Row
from kuttab.collector import tfrecords
from kuttab.ports.observations import Position
from kuttab.rules import metric_values

MOST_FILES: Final = 2_000
DEEPEST: Final = 16
LARGEST_FILE: Final = 2 << 30  # bytes
_PIECE: Final = 1 << 20
_LOOK_EVERY: Final = 5  # polls between two walks through the folder
_NEEDS: Final = 100_000


@dataclass(slots=True)
class _File:
    folder: str
    size: int = -1
    modified: int = 0
    offset: int = 0


class TensorFlowEvents:
    """Follows every event file below ``root``, which must not lead outside ``inside``."""

    def __init__(self, root: Path, metrics: Sequence[str], *, inside: Path | None = None) -> None:
        self._root = root
        self._inside = inside
        self._wanted = [(metric, *_split(metric)) for metric in dict.fromkeys(metrics)]
        self._files: dict[str, _File] = {}
        self._stored: Counter[Row] = Counter()
        self._polls = 0
        self._damaged = 0
        self._problems: dict[str, None] = {}

    @property
    def needs(self) -> int:
        """Files grow side by side, so what is stored is found again by its rows."""
        return _NEEDS

    def resume(self, position: Position) -> None:
        """Each stored row will be left out once."""
        self._stored.update(position.rows)

    async def poll(self) -> list[Row]:
        """New rows; the folder is walked at every fifth poll only."""
        self._polls += 1
        return await self._read() if self._polls % _LOOK_EVERY == 1 else []

    async def close(self, clean: bool) -> list[Row]:  # noqa: ARG002 - records have checksums: a cut one is never taken
        """Everything that is left."""
        return await self._read()

    def remarks(self) -> list[str]:
        """What was left out."""
        found = list(self._problems)
        if not self._files and not found:
            found.append(f"no event file has appeared below {self._root}")
        if self._damaged:
            found.append(f"{self._damaged} damaged places in event files below {self._root} were left out")
        return found

    async def _read(self) -> list[Row]:
        found: list[tuple[float, Row]] = []
        for path, state in self._walk():
            state.folder = state.folder or os.path.dirname(path)
            for data in self._new_records(path, state):
                found += self._rows(data, state.folder)
            await asyncio.sleep(0)
        found.sort(key=lambda item: item[0])
        return [row for _, row in found if not self._was_stored(row)]

    def _was_stored(self, row: Row) -> bool:
        if self._stored[row] <= 0:
            return False
        self._stored[row] -= 1
        return True

    def _walk(self) -> Iterator[tuple[str, _File]]:
        """Files that changed since the last look, by name."""
        if self._inside is not None and not _is_inside(self._root, self._inside):
            self._remark(f"event folder {self._root} leads outside the trial's folder")
            return
        folders = [(str(self._root), 0)]
        while folders:
            folder, depth = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    listing = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    self._remark(f"event folder {folder} cannot be read: {error.strerror}")
                continue
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    if depth < DEEPEST:
                        folders.append((entry.path, depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    state = self._state_of(entry)
                    if state is not None:
                        yield entry.path, state

    def _state_of(self, entry: os.DirEntry[str]) -> _File | None:
        state = self._files.get(entry.path)
        if state is None:
            if len(self._files) >= MOST_FILES:
                self._remark(f"more than {MOST_FILES} files below {self._root}; the rest is not read")
                return None
            state = self._files[entry.path] = _File("")
        found = entry.stat(follow_symlinks=False)
        if (found.st_size, found.st_mtime_ns) == (state.size, state.modified):
            return None
        if found.st_size < state.offset:  # written anew
            state.offset = 0
        state.size, state.modified = found.st_size, found.st_mtime_ns
        return state

    def _new_records(self, path: str, state: _File) -> Iterator[bytes]:
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._remark(f"event file {path} cannot be read: {error.strerror}")
            return
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                yield from self._scan(file, path, state)
        finally:
            os.close(file)

    def _scan(self, file: int, path: str, state: _File) -> Iterator[bytes]:
        size = _PIECE
        while True:
            if state.offset >= LARGEST_FILE:
                self._remark(f"event file {path} is larger than {LARGEST_FILE} bytes; the rest is not read")
                return
            buffer = os.pread(file, size, state.offset)
            used = 0
            for step in tfrecords.records(buffer, self._is_wanted):
                used = step.used
                if step.data is None:
                    self._damaged += 1
                elif step.data:
                    yield step.data
            state.offset += used
            if used:
                size = _PIECE
            elif len(buffer) < size:
                return  # nothing whole is left
            else:
                size = min(size * 4, tfrecords.LARGEST_RECORD + 2 * _PIECE)  # a record longer than a piece

    def _is_wanted(self, data: bytes) -> bool:
        return any(tag in data for *_, tag in self._wanted)

    def _rows(self, data: bytes, folder: str) -> list[tuple[float, Row]]:
        try:
            values = tfrecords.scalars(data)
        except ValueError:
            self._damaged += 1
            return []
        found = []
        for value in values:
            for metric, ending, prefix, _ in self._wanted:
                if value.tag.startswith(prefix) and (not ending or folder.endswith(ending)):
                    found.append((value.time, Row(metric, value.text, _time(value.time))))
        return found

    def _remark(self, text: str) -> None:
        if len(self._problems) < 20:
            self._problems[text] = None


def _is_inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _split(metric: str) -> tuple[str, str, bytes]:
    ending, _, prefix = metric.rpartition("/")
    return ending, prefix, prefix.encode(errors="replace")


def _time(seconds: float) -> str:
    try:
        return metric_values.from_nanoseconds(round(seconds * 1e6) * 1000)
    except (ValueError, OverflowError):
        return ""

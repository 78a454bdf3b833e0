"""Following files: output logs and files of a trial's own."""

# ruff: noqa: ASYNC230 - small files, written while nothing else waits

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.api.metrics import Row
from kuttab.collector import lines, overlap, tail
from kuttab.ports.observations import Position
from kuttab.rules import metric_lines


def reader(format: str = "TEXT") -> Callable[[], metric_lines.LineReader]:
    """A maker of readers for the metrics loss and acc."""
    return lambda: metric_lines.LineReader(["loss", "acc"], format=format)


def follow(path: Path, *, format: str = "TEXT", append_only: bool = False, **options: object) -> lines.LineSource:
    """A source over a file."""
    return lines.LineSource(
        tail.Tail(path, rewritable=not append_only, **options), reader(format), append_only=append_only
    )


def values(rows: list[Row]) -> list[str]:
    """Only the values."""
    return [row.value for row in rows]


async def test_a_growing_file_is_followed(tmp_path: Path) -> None:
    """Each poll gives what was written since the last; a file that appears late is found."""
    path = tmp_path / "log"
    source = follow(path, append_only=True)
    assert await source.poll() == []
    assert source.remarks() == [f"metrics file {path} has not appeared"]
    with open(path, "w") as file:
        for index in range(3):
            file.write(f"loss={index}\nloss=")
            file.flush()
            assert values(await source.poll()) == [str(index)]
            file.write("9\n")
            file.flush()
            assert values(await source.poll()) == ["9"]
        assert await source.poll() == []
        file.write("acc=1")
        file.flush()
        assert await source.poll() == []
    assert values(await source.close(clean=True)) == ["1"]
    assert source.remarks() == []


async def test_f02_what_a_killed_process_left_half_is_not_taken(tmp_path: Path) -> None:
    """F02: the cut last line of a killed process is counted, not read as a shorter number."""
    path = tmp_path / "log"
    path.write_text("loss=0.98\nloss=0.9")
    source = follow(path, append_only=True)
    assert values(await source.close(clean=False)) == ["0.98"]
    assert source.remarks() == [f"1 values or lines in {path} could not be read"]


async def test_f03_truncated_and_begun_anew(tmp_path: Path) -> None:
    """F03: a file that is cut to nothing and written again gives its new lines, and no line twice."""
    path = tmp_path / "log"
    path.write_text("loss=1\nloss=2\n")
    source = follow(path)
    assert values(await source.poll()) == ["1", "2"]
    path.write_text("loss=3\n")
    await source.poll()
    got = values(await source.poll())
    for _ in range(30):
        got += values(await source.poll())
    assert got == ["3"]
    assert await source.close(clean=True) == []


async def test_f03_rotated(tmp_path: Path) -> None:
    """F03: of a file that is moved away the rest is read, then the new one."""
    path = tmp_path / "log"
    path.write_text("loss=1\n")
    source = follow(path)
    assert values(await source.poll()) == ["1"]
    with open(path, "a") as old:
        old.write("loss=2\n")
    path.rename(tmp_path / "log.1")
    path.write_text("loss=3\n")
    got = values(await source.poll())
    for _ in range(30):
        got += values(await source.poll())
    assert got == ["2", "3"]


async def test_f03_deleted_while_it_is_written(tmp_path: Path) -> None:
    """F03: what a process writes into a file that was deleted under it still counts."""
    path = tmp_path / "log"
    with open(path, "w") as file:
        file.write("loss=1\n")
        file.flush()
        source = follow(path)
        assert values(await source.poll()) == ["1"]
        path.unlink()
        file.write("loss=2\n")
        file.flush()
        assert values(await source.poll()) == ["2"]


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "device link", "unreadable"])
async def test_f03_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    """F03: a FIFO, folder or link is not read and does not block; when a real file takes its place, that is read."""
    path = tmp_path / "log"
    secret = tmp_path / "secret"
    secret.write_text("loss=42\n")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        path.touch(mode=0)
    else:
        path.symlink_to(secret if kind == "link" else "/dev/zero")
    source = follow(path)
    assert await source.poll() == []
    words = {"fifo": "is a FIFO", "folder": "is a folder", "unreadable": "cannot be read"}
    assert words.get(kind, "is a symbolic link") in source.remarks()[0]
    path.rmdir() if kind == "folder" else path.unlink()
    path.write_text("loss=1\n")
    assert values(await source.poll()) == ["1"]
    assert source.remarks() == []


async def test_f03_a_path_that_leads_outside_is_not_read(tmp_path: Path) -> None:
    """F03: a folder of the trial that is a link to elsewhere opens nothing elsewhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "log").write_text("loss=42\n")
    root = tmp_path / "trial"
    root.mkdir()
    (root / "katib").symlink_to(outside)
    source = follow(root / "katib" / "log", root=root)
    assert await source.poll() == []
    assert "leads outside" in source.remarks()[0]


async def test_f03_a_sparse_terabyte(tmp_path: Path) -> None:
    """F03: of a file beyond the limit only the limit is read, a budget at a time, and it is told."""
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.write(b"loss=1\n")
        file.truncate(1 << 40)
    source = follow(path, largest=40 << 20)
    got = [await source.poll() for _ in range(4)]
    assert [values(rows) for rows in got] == [["1"], [], [], []]
    assert await source.close(clean=True) == []
    assert "is larger than 41943040 bytes" in source.remarks()[0]


async def test_f04_no_file_ever(tmp_path: Path) -> None:
    """F04: a file that never comes costs one look a poll and ends with a remark."""
    source = follow(tmp_path / "log")
    assert await source.poll() == []
    assert await source.close(clean=True) == []
    assert source.remarks() == [f"metrics file {tmp_path / 'log'} has not appeared"]


def hypertune(path: Path, entries: list[tuple[int, str]], keep: int = 100) -> None:
    """Rewrite a file the way the hypertune library does: whole, with the last entries only."""
    with open(path, "w") as file:
        for step, value in entries[-keep:]:
            entry = {"global_step": str(step), "loss": value, "timestamp": 1_700_000_000 + step / 4, "trial": "0"}
            file.write(json.dumps(entry, sort_keys=True) + "\n")


@pytest.mark.parametrize("polls_every", [1, 3, 250])
async def test_a_file_rewritten_whole_gives_each_entry_once(tmp_path: Path, polls_every: int) -> None:
    """Hypertune's file, rewritten at each report with its last 100 entries, gives every entry that a poll could see, once."""
    path = tmp_path / "log"
    source = follow(path, format="JSON")
    entries: list[tuple[int, str]] = []
    got: list[str] = []
    for step in range(250):
        entries.append((step, f"0.{step % 3}"))
        hypertune(path, entries)
        if step % polls_every == polls_every - 1:
            got += values(await source.poll())
    got += values(await source.close(clean=True))
    seen = 250 if polls_every < 100 else 100
    assert got == [value for _, value in entries][-seen:]


async def test_a_rewritten_file_is_read_while_it_changes_at_every_poll(tmp_path: Path) -> None:
    """A file that never stops changing is not waited for longer than some polls."""
    path = tmp_path / "log"
    source = follow(path, format="JSON")
    entries: list[tuple[int, str]] = []
    got = 0
    for step in range(200):
        entries.append((step, "1"))
        hypertune(path, entries, keep=10)
        got += len(await source.poll())
    assert got >= 190


async def test_a_half_written_rewrite_is_waited_for(tmp_path: Path) -> None:
    """A poll in the middle of a rewrite takes nothing twice."""
    path = tmp_path / "log"
    whole = "".join(f"loss={index}\n" for index in range(50))
    path.write_text(whole)
    source = follow(path)
    assert len(await source.poll()) == 50
    path.write_text(whole[:100])
    assert await source.poll() == []
    path.write_text(whole + "loss=50\n")
    assert values(await source.poll() + await source.poll()) == ["50"]


@pytest.mark.parametrize("stored", [0, 1, 5, 119, 120])
@pytest.mark.parametrize("keep", [1000, 30])
async def test_a_reader_that_starts_again_goes_on_after_what_is_stored(tmp_path: Path, stored: int, keep: int) -> None:
    """After a crash of ours nothing is stored twice, nothing that is in the file is lost, whether it was rewritten or not."""
    path = tmp_path / "log"
    entries = [(step, f"0.{step % 7}") for step in range(120)]
    hypertune(path, entries, keep=keep)
    all_rows = (await follow_all(path, entries))[:stored]
    source = follow(path, format="JSON")
    if stored:
        source.resume(Position(stored, False, tuple(all_rows[-overlap.WINDOW :])))
    rows = [*await source.poll(), *await source.poll()]
    assert await source.close(clean=True) == []
    there = entries[-keep:]
    expected = [value for step, value in there if step >= stored]
    assert values(rows) == expected


async def follow_all(path: Path, entries: list[tuple[int, str]]) -> list[Row]:
    """The rows of all entries."""
    whole = path.with_suffix(".all")
    hypertune(whole, entries, keep=10_000)
    return await follow(whole, format="JSON").poll()


@pytest.mark.slow
async def test_resuming_in_a_file_longer_than_what_is_kept(tmp_path: Path) -> None:
    """A long file that only grew is gone through without keeping its rows; one that was cut is found by its last rows."""
    path = tmp_path / "log"
    path.write_text("".join(f"loss={index}\n" for index in range(60_000)))
    known = tuple(Row("loss", str(index)) for index in range(52_000, 54_000))
    source = follow(path)
    source.resume(Position(54_000, False, known))
    got = [value for _ in range(8) for value in values(await source.poll())]
    assert got == [str(index) for index in range(54_000, 60_000)]
    path.write_text("".join(f"loss={index}\n" for index in range(53_000, 120_000)))
    source = follow(path)
    source.resume(Position(54_000, False, known))
    got = [value for _ in range(8) for value in values(await source.poll())]
    got += values(await source.close(clean=True))
    assert got == [str(index) for index in range(54_000, 120_000)]


ROWS = st.lists(st.sampled_from("ab").map(lambda value: Row("loss", value)), max_size=12)


@given(ROWS, ROWS)
def test_overlap_is_the_longest_end_that_is_a_beginning(known: list[Row], read: list[Row]) -> None:
    """The fast comparison equals the definition."""
    lengths = [size for size in range(min(len(known), len(read)) + 1) if known[len(known) - size :] == read[:size]]
    assert overlap.overlap(known, read) == max(lengths)


@given(ROWS, ROWS, st.integers(1, 5))
def test_what_is_left_out_never_changes_the_latest(known: list[Row], read: list[Row], step: int) -> None:
    """However a text that began anew is cut into pieces, what is taken ends where the text ends."""
    comparison = overlap.Comparison(known, len(known))
    fresh: list[Row] | None = None
    for start in range(0, len(read), step):
        part = read[start : start + step]
        if fresh is None:
            fresh = comparison.add(part)
        else:
            fresh += part
    if fresh is None:
        _, fresh = comparison.decide()
    assert fresh is not None
    assert fresh == read[len(read) - len(fresh) :]
    assert (known + fresh)[-1:] == (read[-1:] or known[-1:])


@pytest.mark.parametrize("keep", [8, 40, 1000])
async def test_random_polls_of_a_rewritten_file(tmp_path: Path, keep: int) -> None:
    """Whenever the polls come, as long as they come often enough, every entry is given once and in order."""
    rng = random.Random(keep)
    path = tmp_path / "log"
    source = follow(path, format="JSON")
    entries: list[tuple[int, str]] = []
    got: list[str] = []
    for step in range(200):
        entries.append((step, str(step % 5)))
        hypertune(path, entries, keep=keep)
        for _ in range(2 if step % 4 == 0 else rng.randint(0, 2)):
            got += values(await source.poll())
    got += values(await source.close(clean=True))
    assert got == [value for _, value in entries]

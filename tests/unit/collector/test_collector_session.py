"""Sessions: from a source through the rules into the log."""

# ruff: noqa: ASYNC230 - small files, written while nothing else waits

from __future__ import annotations

import asyncio
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from kuttab.api import experiment, suggestion
from kuttab.api.metrics import Aggregate, Row
from kuttab.base import errors
from kuttab.collector import lines, session, sources, tail
from kuttab.observations import memory
from kuttab.ports.observations import Summary, TrialKey
from kuttab.rules import earlystop, metric_lines

KEY = TrialKey("uid-1", "trial-1", "default")
OBJECTIVE = experiment.ObjectiveSpec(type="minimize", objective_metric_name="loss", additional_metric_names=["acc"])


class Flaky(memory.MemoryObservations):
    """A log that is away while ``away`` is set, and that can lose the answer to a report that it stored."""

    away = False
    lose = False

    async def _door(self) -> None:
        if self.away:
            raise errors.UnavailableError("away")

    async def report(self, *args: Any) -> None:
        """Store, when not away."""
        await self._door()
        await super().report(*args)
        if self.lose:
            raise errors.DeadlineError("no answer")

    async def complete(self, *args: Any) -> Summary:
        """Complete, when not away."""
        await self._door()
        done = await super().complete(*args)
        if self.lose:
            raise errors.DeadlineError("no answer")
        return done

    async def position(self, *args: Any) -> Any:
        """Look, when not away."""
        await self._door()
        return await super().position(*args)

    async def fence(self, *args: Any) -> None:
        """Fence, when not away."""
        await self._door()
        await super().fence(*args)


def stdout(
    path: Path, observations: memory.MemoryObservations, rules: Any = None, attempt: str = "a"
) -> session.Session:
    """A session over an output log."""
    source = sources.open_source(None, OBJECTIVE, stdout_path=path, map_path=Path)
    assert source is not None
    return session.Session(observations, KEY, attempt, source, rules)


def rules(*given: tuple[str, str, str, int]) -> earlystop.RuleSet:
    """Stop rules in short."""
    made = [suggestion.EarlyStoppingRule(name=n, value=v, comparison=c, start_step=s) for n, v, c, s in given]
    return earlystop.RuleSet(made, "loss", "minimize")


async def test_a_short_trial_is_one_step(tmp_path: Path) -> None:
    """A trial that ended before its first poll is stored, fenced and marked by one call."""
    path = tmp_path / "log"
    path.write_text("loss=2\nloss=1 acc=0.5\n")
    observations = memory.MemoryObservations()
    summary = await stdout(path, observations).finish(clean=True)
    assert summary == Summary(
        {"loss": Aggregate("1", "2", "1", 2), "acc": Aggregate("0.5", "0.5", "0.5", 1)}, complete=True
    )
    assert await observations.summarize(KEY) == summary


async def test_a_trial_without_metrics_is_complete_and_empty(tmp_path: Path) -> None:
    """F05: a program that prints no metric ends complete, without a value."""
    path = tmp_path / "log"
    path.write_text("Loss: 1\n")
    assert await stdout(path, memory.MemoryObservations()).finish(clean=True) == Summary({}, complete=True)


async def test_s18_the_attempt_that_reports_is_the_one_that_counts(tmp_path: Path) -> None:
    """S18: a new attempt's first rows fence the old one's."""
    path = tmp_path / "log"
    path.write_text("loss=9\n")
    observations = memory.MemoryObservations()
    await stdout(path, observations, attempt="old").poll()
    path.write_text("loss=1\n")
    new = stdout(path, observations, attempt="new")
    await new.poll()
    assert await observations.read(KEY) == [Row("loss", "1")]


@pytest.mark.parametrize("kind", ["StdOut", "File"])
async def test_f01_s16_a_session_killed_anywhere_stores_each_row_once(tmp_path: Path, kind: str) -> None:
    """F01: after every poll, and before the answer to any report, a new session takes over: the log equals an undisturbed one's."""
    path = tmp_path / "log"
    text = [f"loss={index % 4}\n" for index in range(12)]
    for killed in range(13):
        path.write_text("")
        observations = Flaky()
        current = session.Session(observations, KEY, "a", _source(path, kind))
        for index, line in enumerate(text):
            with open(path, "a") as file:
                file.write(line)
            observations.lose = index == killed
            await current.poll()
            observations.lose = False
            if index == killed:
                current = session.Session(observations, KEY, "a", _source(path, kind))
        summary = await current.finish(clean=True)
        assert [row.value for row in await observations.read(KEY)] == [line[5:6] for line in text]
        assert summary.complete
        again = session.Session(observations, KEY, "a", _source(path, kind))
        assert await again.finish(clean=True) == summary


def _source(path: Path, kind: str) -> Any:
    spec = experiment.MetricsCollectorSpec(
        collector=experiment.CollectorSpec(kind=kind),
        source=experiment.SourceSpec(file_system_path=experiment.FileSystemPath(path="/x", kind="File")),
    )
    return sources.open_source(spec, OBJECTIVE, stdout_path=path, map_path=lambda _: path)


async def test_f21_while_the_log_is_away_nothing_is_lost_and_memory_is_bounded(tmp_path: Path) -> None:
    """F21: a session keeps few rows while the log is away, reads no further, and catches up without loss."""
    path = tmp_path / "log"
    observations = Flaky()
    observations.away = True
    current = stdout(path, observations)
    with open(path, "w") as file:
        for first in range(0, 100_000, 20_000):
            file.writelines(f"loss={index}\n" for index in range(first, first + 20_000))
            file.flush()
            assert await current.poll() is False
    assert len(current._pending) < 60_000
    with pytest.raises(errors.UnavailableError):
        await current.finish(clean=True)
    observations.away = False
    summary = await current.finish(clean=True)
    assert summary == Summary({"loss": Aggregate("0", "99999", "99999", 100_000)}, complete=True)


async def test_f01_finish_can_be_repeated_when_its_answer_was_lost(tmp_path: Path) -> None:
    """F01, S17: the final marker's answer may be lost; finishing again changes nothing."""
    path = tmp_path / "log"
    path.write_text("loss=1\nloss=2\n")
    observations = Flaky()
    observations.lose = True
    current = stdout(path, observations)
    with pytest.raises(errors.DeadlineError):
        await current.finish(clean=True)
    observations.lose = False
    assert await current.finish(clean=True) == Summary({"loss": Aggregate("1", "2", "2", 2)}, complete=True)


async def test_f14_a_rule_that_is_met_stops_once_and_the_rest_is_still_read(tmp_path: Path) -> None:
    """F14: poll tells the stop from then on; what the process still prints is part of the observation."""
    path = tmp_path / "log"
    observations = memory.MemoryObservations()
    current = stdout(path, observations, rules(("loss", "5", "greater", 2)))
    path.write_text("loss=9\n")
    assert await current.poll() is False
    with open(path, "a") as file:
        file.write("loss=8\n")
    assert await current.poll() is True
    assert await current.poll() is True
    with open(path, "a") as file:
        file.write("loss=7\nloss=6")
    summary = await current.finish(clean=False)
    assert summary == Summary({"loss": Aggregate("7", "9", "7", 3)}, complete=True)


async def test_f14_rules_are_judged_while_the_log_is_away(tmp_path: Path) -> None:
    """A stop does not wait for the log: the rule is met when the value is read."""
    path = tmp_path / "log"
    observations = Flaky()
    observations.away = True
    path.write_text("loss=9\n")
    assert await stdout(path, observations, rules(("loss", "5", "greater", 1))).poll() is True


async def test_a_look_judges_at_once_and_stores_nothing(tmp_path: Path) -> None:
    """Looking tells what the rules say of what was written by now, the log's state aside; the next poll stores it, once."""
    path, observations = tmp_path / "log", Flaky()
    path.write_text("loss=1\n")
    watched = stdout(path, observations, rules(("loss", "5", "greater", 1)))
    assert watched.judged
    assert not stdout(path, observations).judged
    observations.away = True
    assert await watched.look() is False
    with path.open("a") as file:
        file.write("loss=2\n")
    assert await watched.look() is False
    observations.away = False
    assert await observations.read(KEY) == []
    await watched.poll()
    stopping = stdout(path, memory.MemoryObservations(), rules(("loss", "3", "less", 1)))
    assert await stopping.look() is True
    assert (await watched.finish(clean=True)).complete
    assert await watched.look() is False
    assert [row.value for row in await observations.read(KEY)] == ["1", "2"]


async def test_a_look_at_a_file_waits_for_no_log(tmp_path: Path) -> None:
    """Where the place in a file is not known, because the log is away, a look says what is known, and fails nobody."""
    path, observations = tmp_path / "log", Flaky()
    path.write_text("loss=1\n")
    made = session.Session(observations, KEY, "a", _source(path, "File"), rules(("loss", "3", "less", 1)))
    observations.away = True
    assert await made.look() is False
    observations.away = False
    assert await made.look() is True


@pytest.mark.parametrize("kind", ["StdOut", "File"])
async def test_rules_know_what_was_reported_before_a_crash_of_ours(tmp_path: Path, kind: str) -> None:
    """A session that takes over counts the values that its predecessor saw."""
    path = tmp_path / "log"
    path.write_text("loss=9\nloss=9\n")
    observations = memory.MemoryObservations()
    limit = rules(("loss", "5", "greater", 3))
    assert await session.Session(observations, KEY, "a", _source(path, kind), limit).poll() is False
    with open(path, "a") as file:
        file.write("loss=9\n")
    current = session.Session(observations, KEY, "a", _source(path, kind), rules(("loss", "5", "greater", 3)))
    stops = [await current.poll() for _ in range(3)]
    assert stops[-1] is True


async def test_pushed_rows_are_judged_and_marked() -> None:
    """Push: rows that arrive by themselves, under any sources, meet the rules too, and the end makes them complete."""
    observations = memory.MemoryObservations()
    current = session.PushedSession(observations, KEY, "pod", rules(("loss", "5", "greater", 150)))
    for index in range(149):
        await observations.report(KEY, f"report-{index}", 0, [Row("loss", "9")])
        assert await current.poll() is False
    await observations.report(KEY, "report-149", 0, [Row("loss", "9")])
    assert current.judged
    assert await current.look() is True
    assert not (await observations.summarize(KEY)).complete
    assert await current.finish(clean=True) == Summary({"loss": Aggregate("9", "9", "9", 150)}, complete=True)


async def test_large_values_go_in_small_reports(tmp_path: Path) -> None:
    """F10: a report holds at most 5,000 rows and about a megabyte."""
    path = tmp_path / "log"
    sizes: list[int] = []

    class Watching(memory.MemoryObservations):
        async def report(self, trial: Any, source: Any, first_seq: Any, rows: Any) -> None:
            """Note the size."""
            sizes.append(sum(len(row.value) for row in rows))
            assert len(rows) <= 5_000
            await super().report(trial, source, first_seq, rows)

    reader = metric_lines.LineReader(["loss"], ["(loss)=(.*)"])
    source = lines.LineSource(tail.Tail(path, rewritable=False), lambda: reader, append_only=True)
    path.write_text(("loss=" + "x" * 10_000 + "\n") * 300)
    await session.Session(Watching(), KEY, "a", source).poll()
    assert len(sizes) == 3
    assert max(sizes) <= 1 << 20


class Forgetful(memory.MemoryObservations):
    """Takes reports and keeps none of them."""

    count = 0

    async def report(self, trial: Any, source: Any, first_seq: Any, rows: Any) -> None:
        """Count."""
        assert first_seq == self.count
        self.count += len(rows)


async def test_f12_a_day_of_output_needs_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    """F12: a session that reads on and on keeps its memory."""
    path = tmp_path / "log"
    observations = Forgetful()
    current = stdout(path, observations, rules(("loss", "1e9", "greater", 1)))
    sizes = []
    tracemalloc.start()
    with open(path, "w") as file:
        for minute in range(40):
            file.writelines(
                f"2024-01-01T00:00:00Z step {index} loss=0.{index}\n" for index in range(minute, minute + 1000)
            )
            file.flush()
            await current.poll()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert observations.count == 40_000
    assert sizes[-1] < sizes[9] + 100_000


async def test_f20_a_wrong_clock_changes_no_order(tmp_path: Path) -> None:
    """F20: times that run backwards are stored as they are; the last line is the latest value."""
    path = tmp_path / "log"
    path.write_text("2030-01-01T00:00:00Z loss=1\n2020-01-01T00:00:00Z loss=2\n")
    observations = memory.MemoryObservations()
    summary = await stdout(path, observations).finish(clean=True)
    assert summary.metrics["loss"].latest == "2"
    assert [row.time for row in await observations.read(KEY)] == ["2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]


async def test_k14_values_that_are_none_end_nothing(tmp_path: Path) -> None:
    """K14: a value that no rule can compare is a row or a count; reading and judging go on (Katib's collector dies)."""
    path = tmp_path / "log"
    path.write_text("loss=nan\nloss=high\nloss=inf\nloss=9\n")
    observations = memory.MemoryObservations()
    assert await stdout(path, observations, rules(("loss", "5", "greater", 1))).poll() is True
    assert [row.value for row in await observations.read(KEY)] == ["nan", "inf", "9"]


def test_a_printed_log_is_read_at_50_mb_a_second(tmp_path: Path) -> None:
    """A log that rarely holds a metric's name is read, through the session, at more than 50 MB per second of CPU."""
    path = tmp_path / "log"
    block = b"step 123 of something, all is well and there is nothing to see here\n" * 2_000 + b"loss=0.5\n"
    path.write_bytes(block * 100)
    current = stdout(path, memory.MemoryObservations())
    started = time.process_time()
    summary = asyncio.run(current.finish(clean=True))
    assert path.stat().st_size / (time.process_time() - started) > 50e6
    assert summary.metrics["loss"].count == 100


async def test_a_hundred_idle_tails_cost_under_five_percent_of_a_core(tmp_path: Path) -> None:
    """Polled five times a second, 100 sessions over logs that do not grow use less than 50 ms of CPU a second."""
    observations = memory.MemoryObservations()
    sessions = []
    for index in range(100):
        path = tmp_path / str(index)
        path.write_text("loss=1\n")
        sessions.append(stdout(path, observations))
    for each in sessions:
        await each.poll()
    started = time.process_time()
    for _ in range(25):
        for each in sessions:
            await each.poll()
    assert (time.process_time() - started) / 5 < 0.05


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"collector": {"kind": "Kafka"}}, "collector.kind"),
        ({"source": {"filter": {"metricsFormat": ["("]}}}, "source.filter.metricsFormat[0]"),
        (
            {"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"host": "169.254.169.254"}}},
            "source.httpGet.host",
        ),
        ({"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"port": "web"}}}, "source.httpGet.port"),
        ({"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"port": 99999}}}, "source.httpGet.port"),
        ({"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"path": "/a b"}}}, "source.httpGet.path"),
        (
            {"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"scheme": "HTTPS"}}},
            "source.httpGet.scheme",
        ),
        (
            {
                "collector": {"kind": "PrometheusMetric"},
                "source": {"httpGet": {"httpHeaders": [{"name": "A", "value": "b\r\nC: d"}]}},
            },
            "source.httpGet.httpHeaders[0]",
        ),
    ],
)
def test_specs_that_cannot_be_honoured(spec: dict[str, Any], path: str) -> None:
    """What a collector cannot do is refused with its field path."""
    given = experiment.MetricsCollectorSpec.model_validate(spec)
    with pytest.raises(errors.InvalidError) as caught:
        sources.open_source(given, OBJECTIVE, stdout_path=Path("x"), map_path=Path)
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize("kind", ["Push", "Custom"])
def test_kinds_whose_rows_arrive_by_themselves(kind: str) -> None:
    """Push and Custom have no source to read."""
    given = experiment.MetricsCollectorSpec(collector=experiment.CollectorSpec(kind=kind))
    assert sources.open_source(given, OBJECTIVE, stdout_path=Path("x"), map_path=Path) is None

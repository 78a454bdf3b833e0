"""Rows out of a pod's log, however it is cut and however often it is read again."""

from __future__ import annotations

import pytest

from kuttab.api import experiment
from kuttab.api.metrics import Row
from kuttab.base import errors
from kuttab.collector import podlog

LOG = b"".join(
    f"2026-11-26T08:00:00.{fraction}Z {text}\n".encode()
    for fraction, text in (
        ("1", "loss=0.5"), ("15", "2020-01-01T00:00:00Z loss=0.4"), ("15", "accuracy=0.9"), ("2", "nothing"),
        ("200000001", "loss=0.3"),
    )
)  # fmt: skip
ROWS = [
    Row("loss", "0.5", "2026-11-26T08:00:00.1Z"),
    Row("loss", "0.4", "2020-01-01T00:00:00Z"),
    Row("accuracy", "0.9", "2026-11-26T08:00:00.15Z"),
    Row("loss", "0.3", "2026-11-26T08:00:00.200000001Z"),
]


def source(**spec: object) -> podlog.PodLog:
    """A log of the metrics loss and accuracy."""
    objective = experiment.ObjectiveSpec(objective_metric_name="loss", additional_metric_names=["accuracy"])
    made = podlog.open_log(experiment.MetricsCollectorSpec.model_validate(spec), objective)
    assert made is not None
    return made


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
async def test_cutting_changes_nothing(size: int) -> None:
    """Rows, their times and their order do not depend on how the log arrives."""
    log = source()
    for start in range(0, len(LOG), size):
        log.feed(LOG[start : start + size])
    assert [*await log.poll(), *await log.close(True)] == ROWS
    assert log.last_line == LOG.splitlines()[-1]


@pytest.mark.parametrize("cut", range(0, len(LOG) + 1, 3))
async def test_reading_again_repeats_nothing(cut: int) -> None:
    """A connection that breaks anywhere, even within a line or among lines of one time, loses and repeats no row."""
    log = source()
    log.feed(LOG[:cut])
    rows = await log.poll()
    log.again()
    log.feed(LOG)
    assert rows + await log.close(True) == ROWS
    assert not log.remarks()


async def test_a_rotated_log_goes_on() -> None:
    """What was seen before the beginning of the log was rotated away is kept, and what follows is new."""
    pieces = LOG.splitlines(keepends=True)
    first, rest = b"".join(pieces[:2]), b"".join(pieces[3:])
    log = source()
    log.feed(first)
    rows = await log.poll()
    log.again()
    log.feed(rest)
    assert rows + await log.close(True) == [ROWS[0], ROWS[1], ROWS[3]]
    assert "rotated" in log.remarks()[0]


async def test_filters_see_the_line_alone() -> None:
    """A user's filter that begins at the start of a line meets the program's text, not the time before it."""
    log = source(source={"filter": {"metricsFormat": ["^(loss) is ([0-9.]+)"]}})
    log.feed(b"2026-11-26T08:00:00.1Z loss is 0.25\n")
    assert [(row.metric, row.value) for row in await log.poll()] == [("loss", "0.25")]


async def test_a_last_line_without_newline() -> None:
    """It counts when the program ended well; when it was killed, the value may be cut off."""
    for clean, wanted in ((True, ["0.9"]), (False, [])):
        log = source()
        log.feed(b"2026-11-26T08:00:00.1Z loss=0.9")
        assert [row.value for row in await log.close(clean)] == wanted


def test_collectors_that_need_the_sidecar() -> None:
    """Push needs no log; what reads files in the pod is refused with what to do instead."""
    objective = experiment.ObjectiveSpec(objective_metric_name="loss")
    push = experiment.MetricsCollectorSpec.model_validate({"collector": {"kind": "Push"}})
    assert podlog.open_log(push, objective) is None
    for kind in ("File", "TensorFlowEvent", "PrometheusMetric", "Custom"):
        spec = experiment.MetricsCollectorSpec.model_validate({"collector": {"kind": kind}})
        with pytest.raises(errors.InvalidError, match="StdOut or Push"):
            podlog.open_log(spec, objective)

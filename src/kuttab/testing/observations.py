"""The contract of an observation log, as tests that any implementation can run.

Subclass :class:`ObservationsContract` in a pytest module (with pytest-asyncio in auto mode) and give it :meth:`observations`, an
asynchronous fixture that yields an empty log or one that other tests use too: every test speaks about trials of its own. Each test
states the promise that it checks. Nothing here needs to know how rows are stored.
"""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest

from kuttab.base import errors
from kuttab.ports.observations import Aggregate, Observations, Position, Row, Summary, TrialKey
from kuttab.rules import observation

HOSTILE_TEXTS = (
    "'; DROP TABLE observation_logs; --", '"', "%s", ":name", "?", "\\", "a\nb", "\x1b[31m", "<b>", "😀", "é", "_", "%",
    "{}", "$1", "0", "a;b", "unavailable",
)  # fmt: skip


def trial(name: str = "trial", namespace: str = "default") -> TrialKey:
    """A trial nobody has used."""
    return TrialKey(str(uuid.uuid4()), name, namespace)


def losses(*values: object) -> list[Row]:
    """Rows of the metric ``loss``."""
    return [Row("loss", str(value)) for value in values]


class ObservationsContract:
    """Every promise of :class:`kuttab.ports.observations.Observations`."""

    @pytest.fixture
    async def observations(self) -> Observations:
        """The implementation under test."""
        raise NotImplementedError

    async def test_rows_come_back_in_order(self, observations: Observations) -> None:
        """What was reported is read back, row for row, in the order of the reports."""
        key = trial()
        rows = [
            Row("loss", "0.50", "2024-01-01T00:00:00.000000001Z"),
            Row("acc", "1e-3"),
            Row("loss", "nan"),
            Row("loss", ""),
        ]
        await observations.report(key, "pod", 0, rows[:2])
        await observations.report(key, "pod", 2, rows[2:])
        assert await observations.read(key) == rows

    async def test_an_unknown_trial_has_nothing(self, observations: Observations) -> None:
        """A trial without rows is no error."""
        key = trial()
        assert await observations.read(key) == []
        assert await observations.summarize(key) == Summary({}, complete=False)
        assert await observations.position(key, "pod", 5) == Position()
        await observations.delete(key)

    async def test_s16_a_report_repeated_is_stored_once(self, observations: Observations) -> None:
        """S16, K8: retries, overlaps and replays from the start store nothing twice and change no aggregate."""
        key, rows = trial(), losses(3, 1, 2)
        for first, last in ((0, 2), (0, 2), (1, 3), (0, 3), (2, 3)):
            await observations.report(key, "pod", first, rows[first:last])
        assert await observations.read(key) == rows
        assert (await observations.summarize(key)).metrics == {"loss": Aggregate("1", "3", "2", 3)}

    async def test_s16_the_first_report_of_a_row_stays(self, observations: Observations) -> None:
        """S16: an acknowledged row never changes, whatever is reported under its number later."""
        key = trial()
        await observations.report(key, "pod", 0, losses(1))
        await observations.report(key, "pod", 0, losses(9))
        assert await observations.read(key) == losses(1)

    async def test_rows_that_come_late_take_their_place(self, observations: Observations) -> None:
        """Order is the sequence number: a report that arrives after later ones changes neither order nor latest."""
        key, rows = trial(), losses(5, 1, 9, 2)
        await observations.report(key, "pod", 2, rows[2:])
        assert not (await observations.summarize(key)).complete
        await observations.report(key, "pod", 1, rows[1:3])
        await observations.finish(key, "pod", 4)
        assert not (await observations.summarize(key)).complete
        await observations.report(key, "pod", 0, rows)
        assert await observations.read(key) == rows
        assert await observations.summarize(key) == Summary({"loss": Aggregate("1", "9", "2", 4)}, complete=True)

    async def test_s17_complete_means_every_counted_row_is_there(self, observations: Observations) -> None:
        """S17: the final marker alone does not make a trial complete; the rows it counted do."""
        key = trial()
        await observations.report(key, "pod", 0, losses(1))
        assert not (await observations.summarize(key)).complete
        await observations.finish(key, "pod", 2)
        assert not (await observations.summarize(key)).complete
        await observations.report(key, "pod", 1, losses(2))
        assert (await observations.summarize(key)).complete

    async def test_s17_no_rows_can_be_complete(self, observations: Observations) -> None:
        """A source that reported nothing and said so is complete."""
        key = trial()
        await observations.finish(key, "pod", 0)
        assert await observations.summarize(key) == Summary({}, complete=True)
        assert (await observations.position(key, "pod")).finished

    async def test_h23_a_forged_final_marker_hides_nothing(self, observations: Observations) -> None:
        """H-23: rows after a final marker still count, and a lower marker does not replace a higher one."""
        key = trial()
        await observations.finish(key, "pod", 2)
        await observations.finish(key, "pod", 0)
        await observations.report(key, "pod", 0, losses(1))
        assert not (await observations.summarize(key)).complete
        await observations.report(key, "pod", 1, losses(0, 7))
        assert await observations.summarize(key) == Summary({"loss": Aggregate("0", "7", "7", 3)}, complete=True)

    @pytest.mark.parametrize("first_seq", [-1, 2**53, 2**63, 2**70])
    async def test_h23_row_numbers_out_of_range_are_refused(self, observations: Observations, first_seq: int) -> None:
        """H-23: negative and huge sequence numbers are refused and leave nothing behind."""
        key = trial()
        with pytest.raises(errors.BadInputError, match="row numbers"):
            await observations.report(key, "pod", first_seq, losses(1))
        with pytest.raises(errors.BadInputError, match="rows, not"):
            await observations.finish(key, "pod", first_seq if first_seq < 0 else first_seq + 1)
        assert await observations.summarize(key) == Summary({}, complete=False)

    async def test_s18_rows_of_a_fenced_attempt_do_not_count(self, observations: Observations) -> None:
        """S18: after a fence only the live source is summarized and read, also for rows that come later."""
        key = trial()
        await observations.report(key, "old", 0, losses(0, 100))
        await observations.finish(key, "old", 2)
        await observations.fence(key, "new")
        assert await observations.summarize(key) == Summary({}, complete=False)
        await observations.report(key, "new", 0, losses(5))
        await observations.report(key, "old", 2, losses(-1))
        assert await observations.summarize(key) == Summary({"loss": Aggregate("5", "5", "5", 1)}, complete=False)
        assert await observations.read(key) == losses(5)
        await observations.fence(key, "newest")
        assert await observations.read(key) == []

    async def test_without_a_fence_all_sources_count(self, observations: Observations) -> None:
        """Several sources are one series, one source after the other in the order in which they appeared."""
        key = trial()
        await observations.report(key, "b", 0, losses(1, 2))
        await observations.report(key, "a", 0, losses(3))
        assert await observations.summarize(key) == Summary({"loss": Aggregate("1", "3", "3", 3)}, complete=False)
        assert await observations.read(key) == losses(1, 2, 3)

    async def test_many_small_sources_are_one_series(self, observations: Observations) -> None:
        """Rows that were pushed one by one, each a source of its own, are read in order, in parts too."""
        key = trial()
        for index in range(50):
            await observations.report(key, f"report-{49 - index}", 0, losses(index))
        assert await observations.read(key) == losses(*range(50))
        assert await observations.read(key, limit=7) == losses(*range(7))
        assert (await observations.summarize(key)).metrics == {"loss": Aggregate("0", "49", "49", 50)}

    async def test_complete_is_all_in_one(self, observations: Observations) -> None:
        """One call fences, stores the last rows, puts the marker and tells the summary; repeated, it changes nothing."""
        key = trial()
        await observations.report(key, "old", 0, losses(100))
        await observations.report(key, "pod", 0, losses(1))
        expected = Summary({"loss": Aggregate("1", "2", "2", 2)}, complete=True)
        for _ in range(2):
            assert await observations.complete(key, "pod", 1, losses(2)) == expected
        assert await observations.summarize(key) == expected
        assert await observations.position(key, "pod", 1) == Position(2, True, (Row("loss", "2"),))

    async def test_position_tells_where_a_source_stands(self, observations: Observations) -> None:
        """A reader that starts again learns the next number and the last rows, in order."""
        key = trial()
        await observations.report(key, "pod", 0, losses(1, 2, 3))
        assert await observations.position(key, "pod") == Position(3)
        assert await observations.position(key, "pod", 2) == Position(3, False, tuple(losses(2, 3)))
        assert await observations.position(key, "pod", 9) == Position(3, False, tuple(losses(1, 2, 3)))
        assert await observations.position(key, "other", 9) == Position()

    async def test_s19_trials_are_told_apart_by_uid(self, observations: Observations) -> None:
        """S19, K7: equal names, in one namespace or in two, never mix."""
        one, two, three = trial("same", "a"), trial("same", "a"), trial("same", "b")
        for index, key in enumerate((one, two, three)):
            await observations.report(key, "pod", 0, losses(index))
        for index, key in enumerate((one, two, three)):
            assert await observations.read(key) == losses(index)
        await observations.delete(two)
        assert await observations.read(one) == losses(0)
        assert await observations.read(three) == losses(2)

    async def test_read_by_metric_and_time(self, observations: Observations) -> None:
        """A range holds both its ends, in any zone and to the nanosecond; rows without a time lie before every time."""
        key = trial()
        times = [
            "",
            "2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00.5Z",
            "2024-01-01T00:00:00.500000001Z",
            "9999-12-31T23:59:59Z",
        ]
        rows = [Row(metric, "1", time) for time in times for metric in ("loss", "acc")]
        await observations.report(key, "pod", 0, rows)
        assert await observations.read(key, metric="acc") == rows[1::2]
        assert await observations.read(key, metric="ac") == []
        assert await observations.read(key, start="2024-01-01T01:00:00.5+01:00") == rows[4:]
        assert await observations.read(key, end="2024-01-01T00:00:00.5Z") == rows[:6]
        found = await observations.read(
            key, metric="loss", start="2024-01-01T00:00:00Z", end="2024-01-01T00:00:00.500000001Z"
        )
        assert found == rows[2:8:2]
        assert await observations.read(key, limit=3) == rows[:3]
        with pytest.raises(errors.BadInputError, match="RFC3339"):
            await observations.read(key, start="yesterday")

    async def test_f13_times_are_kept_in_one_spelling(self, observations: Observations) -> None:
        """F13: times are data: UTC with trailing zeros cut; order never comes from them."""
        key = trial()
        spelled = [
            "2024-01-01T02:00:00.250+02:00",
            "9999-12-31T23:59:59.999999999Z",
            "1000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
        ]
        await observations.report(key, "pod", 0, [Row("loss", str(index), time) for index, time in enumerate(spelled)])
        assert [row.time for row in await observations.read(key)] == [
            "2024-01-01T00:00:00.25Z", "9999-12-31T23:59:59.999999999Z", "1000-01-01T00:00:00Z", "",
        ]  # fmt: skip
        assert (await observations.summarize(key)).metrics["loss"].latest == "3"

    async def test_f06_non_finite_values_are_kept_and_never_win(self, observations: Observations) -> None:
        """F06, K13, K15: NaN and infinities are rows, and neither minimum nor maximum."""
        key = trial()
        values = ["nan", "0.50", "inf", "-inf", "1e400", "0.25", "NaN"]
        await observations.report(key, "pod", 0, losses(*values))
        assert [row.value for row in await observations.read(key)] == values
        assert (await observations.summarize(key)).metrics["loss"] == Aggregate("0.25", "0.50", "NaN", 7)

    async def test_s31_hostile_texts_are_data(self, observations: Observations) -> None:
        """S31, H-10, H-11: names, values and sources with quotes, patterns or markup are stored as they are."""
        for text in HOSTILE_TEXTS:
            key = TrialKey(text.strip() + str(uuid.uuid4()), text, text)
            await observations.report(key, text, 0, [Row(text, text)])
            await observations.fence(key, text)
            assert await observations.read(key, metric=text) == [Row(text, text)]
            assert list((await observations.summarize(key)).metrics) == [text]
            await observations.delete(key)
            assert await observations.read(key) == []

    async def test_f05_metric_names_compare_exactly(self, observations: Observations) -> None:
        """F05: names that differ in case or accent are different metrics."""
        key = trial()
        names = ["loss", "Loss", "LOSS", "lóss", "loss_", "损失"]
        await observations.report(key, "pod", 0, [Row(name, str(index)) for index, name in enumerate(names)])
        assert {name: series.latest for name, series in (await observations.summarize(key)).metrics.items()} == {
            name: str(index) for index, name in enumerate(names)
        }
        assert await observations.read(key, metric="Loss") == [Row("Loss", "1")]

    async def test_what_cannot_be_stored_is_refused(self, observations: Observations) -> None:
        """A bad row refuses its whole report with the reason, and nothing of it is stored."""
        key = trial()
        bad = [
            (Row("", "1"), "needs a name"),
            (Row(" loss", "1"), "blanks"),
            (Row("n" * 256, "1"), "at most 255"),
            (Row("a\0b", "1"), "no database"),
            (Row("a\ud800", "1"), "no database"),
            (Row("loss", "x" * 65_536), "longer than 65535 bytes"),
            (Row("loss", "é" * 40_000), "longer than 65535 bytes"),
            (Row("loss", "1", "yesterday"), "RFC3339"),
            (Row("loss", "1", "2024-01-01T00:00:00"), "RFC3339"),
        ]
        for row, reason in bad:
            with pytest.raises(errors.BadInputError, match=reason):
                await observations.report(key, "pod", 0, [Row("loss", "1"), row])
        for other in (TrialKey("", "name"), TrialKey("uid", ""), TrialKey("u" * 256, "name")):
            with pytest.raises(errors.BadInputError):
                await observations.report(other, "pod", 0, losses(1))
        with pytest.raises(errors.BadInputError, match="source"):
            await observations.report(key, "", 0, losses(1))
        assert await observations.read(key) == []

    async def test_values_lose_only_what_no_database_keeps(self, observations: Observations) -> None:
        """NUL and half surrogates become U+FFFD; the longest value of 65,535 bytes is kept whole."""
        key = trial()
        await observations.report(key, "pod", 0, losses("a\0b", "c\ud800", "x" * 65_535))
        assert await observations.read(key) == losses("a\ufffdb", "c\ufffd", "x" * 65_535)
        assert (await observations.summarize(key)).metrics["loss"].latest == "x" * 65_535

    async def test_s23_delete_leaves_nothing(self, observations: Observations) -> None:
        """S23, F23: rows, aggregates, markers and fences go, however many rows; deleting again is fine."""
        key = trial()
        await observations.report(key, "old", 0, losses(*range(12_000)))
        await observations.complete(key, "pod", 0, losses(1))
        await observations.delete(key)
        await observations.delete(key)
        assert await observations.read(key) == []
        assert await observations.summarize(key) == Summary({}, complete=False)
        assert await observations.position(key, "old", 1) == Position()
        await observations.report(key, "old", 0, losses(2))
        assert await observations.read(key) == losses(2)

    async def test_f10_reports_of_any_size(self, observations: Observations) -> None:
        """F10, K9: 20,000 rows in one report (Katib's limit on MySQL is 16,383) are stored exactly."""
        key = trial()
        rows = [Row("loss" if index % 2 else "acc", str(index), "2024-01-01T00:00:00Z") for index in range(20_000)]
        await observations.report(key, "pod", 0, rows)
        assert await observations.read(key) == rows
        assert (await observations.summarize(key)).metrics["acc"] == Aggregate("0", "19998", "19998", 10_000)

    async def test_an_empty_report_is_fine(self, observations: Observations) -> None:
        """Nothing to store is no error."""
        key = trial()
        await observations.report(key, "pod", 0, [])
        assert await observations.read(key) == []

    async def test_concurrent_reports_lose_nothing(self, observations: Observations) -> None:
        """Many reporters at once, each repeating itself: exact counts for every trial."""
        keys = [trial(f"t{index}") for index in range(20)]

        async def reporter(key: TrialKey) -> None:
            for first in range(0, 20, 4):
                await observations.report(key, "pod", first, losses(*range(first, first + 4)))
            await observations.finish(key, "pod", 20)

        await asyncio.gather(*(reporter(key) for key in keys for _ in range(2)))
        for key in keys:
            assert await observations.summarize(key) == Summary({"loss": Aggregate("0", "19", "19", 20)}, complete=True)

    async def test_f24_aggregates_equal_the_rows(self, observations: Observations) -> None:
        """F24: after any mix of reports, repeats and gaps the summary equals one computed from the rows that are read."""
        rng = random.Random(7)  # noqa: S311 - a test's own seed
        for _ in range(10):
            key = trial()
            values = [
                rng.choice(["nan", "inf", "-1e400", "x", "0", "-0", str(rng.randint(-9, 9)), repr(rng.random())])
                for _ in range(40)
            ]
            rows = [Row(rng.choice(["loss", "acc"]), value) for value in values]
            for _ in range(12):
                source = rng.choice(["a", "b"])
                first = rng.randrange(40)
                await observations.report(key, source, first, rows[first : first + rng.randint(1, 15)])
            total = observation.Accumulator()
            total.add(await observations.read(key))
            assert dict((await observations.summarize(key)).metrics) == total.aggregates()

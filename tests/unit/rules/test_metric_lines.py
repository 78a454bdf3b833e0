"""Log text to metric rows."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuttab.api.metrics import Row
from kuttab.base import errors
from kuttab.rules import metric_filters, metric_lines, terminal


def read(text: str | bytes, metrics=("loss", "acc"), filters=(), format="TEXT", clean=True) -> list[tuple[str, str]]:
    """Name and value of every row of a whole text."""
    reader = metric_lines.LineReader(metrics, filters, format)
    rows = reader.feed(text if isinstance(text, bytes) else text.encode()) + reader.close(clean)
    return [(row.metric, row.value) for row in rows]


@pytest.mark.parametrize(
    ("line", "metrics", "pairs"),
    [
        ("Train Epoch: 1 [0/60000 (0%)]\tloss=2.3033", ["loss"], [("loss", "2.3033")]),
        ("lr=0.01, loss=0.3", ["lr", "loss"], [("lr", "0.01"), ("loss", "0.3")]),
        ("Score=-7.53e-05", ["Score"], [("Score", "-7.53e-05")]),
        ("Score=1E0", ["Score"], [("Score", "1E0")]),
        ("accuracy=.98", ["accuracy"], [("accuracy", ".98")]),
        ("accuracy = 0.5%", ["accuracy"], [("accuracy", "0.5")]),
        ("accuracy\t=\t0.5", ["accuracy"], [("accuracy", "0.5")]),
        ("loss=1.", ["loss"], [("loss", "1")]),
        ("loss=1. acc=2", ["loss", "acc"], [("loss", "1"), ("acc", "2")]),
        ("a|b=1", ["a|b"], [("a|b", "1")]),
        ("Validation-accuracy=0.99", ["Validation-accuracy"], [("Validation-accuracy", "0.99")]),
        ("loss=0.3;acc=0.4", ["acc", "loss"], [("loss", "0.3"), ("acc", "0.4")]),
        ("x=loss=3", ["loss"], [("loss", "3")]),
        ("time=12.5s", ["time"], [("time", "12.5")]),
        ("loss=0.3, 0.4", ["loss"], [("loss", "0.3")]),
        ("loss=0.3-0.4", ["loss"], [("loss", "0.3")]),
        ("loss=1 loss=2", ["loss"], [("loss", "1"), ("loss", "2")]),
        ("loss", ["loss"], []),
        ("loss 0.3", ["loss"], []),
        ("loss=", ["loss"], []),
        ("loss=high", ["loss"], []),
    ],
)
def test_default_filter(line: str, metrics: list[str], pairs: list[tuple[str, str]]) -> None:
    """Without filters, ``name = number`` pairs are read as Katib's default filter reads them."""
    assert read(line + "\n", metrics) == pairs


@pytest.mark.parametrize(
    "value", ["nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e400", "-0", "1e-400", "7" * 5000]
)
def test_f06_values_are_recorded_as_they_are(value: str) -> None:
    """F06, K13: non-finite and extreme values are rows in their own spelling (Katib records empty text)."""
    assert read(f"loss={value}\n") == [("loss", value)]
    assert read(f"loss={value} acc={value}, end\n") == [("loss", value), ("acc", value)]


@pytest.mark.parametrize(
    "value", ["0x1p3", "1_000", "1,5", "１２", "1２", "''", "1.2.3", "+", "1e", "1e+", "nano", "info", "-", "."]
)
def test_f06_what_only_begins_like_a_number_is_given_up(value: str) -> None:
    """F06: no text is read as the shorter number it begins with; it is counted as malformed."""
    reader = metric_lines.LineReader(["loss"])
    assert reader.feed(f"loss={value}\nloss={value} x\n".encode()) == []
    assert reader.counters.malformed == 2


def test_f02_a_cut_last_line_is_held_until_its_newline() -> None:
    """F02: ``loss=0.9`` is not a value while ``8`` may still come."""
    reader = metric_lines.LineReader(["loss"])
    assert reader.feed(b"loss=0.9") == []
    assert reader.feed(b"8\nloss=0.") == [Row("loss", "0.98")]
    assert reader.close(clean=False) == []
    assert reader.counters.malformed == 1


def test_f02_a_last_line_without_newline_counts_when_the_process_ended_well() -> None:
    """F02: a program that does not end its last line loses nothing; one that was killed is not believed."""
    assert read("loss=0.98", clean=True) == [("loss", "0.98")]
    assert read("loss=0.98", clean=False) == []
    assert read('{"loss": 0.9', format="JSON", clean=True) == []


def test_f05_names_compare_exactly() -> None:
    """F05: case matters, and no other name is guessed."""
    assert read("Loss=1\nLOSS=2\nlosses=3\nloss =4\n") == [("loss", "4")]


@pytest.mark.parametrize(
    "name", ["loss", "val_loss", "val-loss", "val/loss", "a.b", "mAP@0.5", "x(y)", "[z]*", "a|b", "损失", "🎯"]
)
def test_f19_names_with_other_names_and_signs_inside(name: str) -> None:
    """F19: a name is matched whole and literally, also beside names that it contains."""
    others = {"loss": "1", "val_loss": "2", "val/loss": "3"}
    others.pop(name, None)
    text = " ".join(f"{other}={value}" for other, value in others.items())
    assert read(f"{text} {name}=9 {text}\n", [name]) == [("loss", "3"), ("loss", "9"), ("loss", "3")][
        : 3 * (name == "loss")
    ] or [(name, "9")]


def test_f19_the_longer_name_wins_where_both_are_declared() -> None:
    """F19: ``val/loss=3`` is no value of ``loss`` when ``val/loss`` is declared."""
    assert read("val/loss=3 loss=4\n", ["loss", "val/loss"]) == [("val/loss", "3"), ("loss", "4")]
    assert read("val_loss=3\n", ["loss"]) == []


def test_f11_only_declared_metrics_become_rows() -> None:
    """F11: 10,000 other names and names of 10 kB leave nothing behind."""
    text = "".join(f"metric{index}=1\n" for index in range(10_000)) + "n" * 10_000 + "=1\nloss=2\n"
    assert read(text, ["loss", "n" * 10_000]) == [("loss", "2")]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("loss=1\u2028loss=2\n", [("loss", "1"), ("loss", "2")]),
        ("loss=1\x0bacc=2\x85\n", [("loss", "1"), ("acc", "2")]),
        (b"\xff\xfe loss=1 \xc3\n", [("loss", "1")]),
        (b"\xef\xbb\xbfloss=1\n", [("loss", "1")]),
        ("\x1b[1;32mloss\x1b[0m=\x1b[36m0.5\x1b[0m\n", [("loss", "0.5")]),
        ("lo\x1b[33mss=0.5\x1b[m\n", [("loss", "0.5")]),
        ("\x1b]8;;http://x/loss=7\x07link\x1b]8;;\x1b\\ loss=1\n", [("loss", "1")]),
        ("\x1b]0;title never ended\nloss=1\n", [("loss", "1")]),
        (" 10% loss=0.9\r 50% loss=0.5\r100% loss=0.1\n", [("loss", "0.1")]),
        (" 10% loss=0.9\r100% loss=0.1\r\n", [("loss", "0.1")]),
        ("loss=0.1\r\nloss=0.2\r\n", [("loss", "0.1"), ("loss", "0.2")]),
        ("\u202eloss=1\u202c 🎉\n", [("loss", "1")]),
        ("loss=1\x00\n", [("loss", "1")]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_f07_unicode_and_terminal_text(text: str | bytes, pairs: list[tuple[str, str]]) -> None:
    """F07: only newlines end lines, bad bytes and colours do no harm, the last drawing of a progress bar counts."""
    assert read(text) == pairs


def test_f07_values_can_be_stored_anywhere() -> None:
    """F07: NUL and halves of surrogate pairs, which databases refuse, become U+FFFD."""
    assert read('{"loss": "a\\u0000b\\ud800c\\ud83d\\ude00"}\n', format="JSON") == [("loss", "a\ufffdb\ufffdc😀")]


def test_f08_long_lines_are_left_out_and_memory_stays_flat() -> None:
    """F08: of a line beyond 1 MiB nothing is kept, the lines around it count."""
    reader = metric_lines.LineReader(["loss"])
    rows = reader.feed(b"loss=1\nloss=2 ")
    for _ in range(80):
        rows += reader.feed(b"x" * (1 << 17))
        assert len(reader._held) <= metric_lines.LONGEST_LINE + (1 << 18)
    rows += reader.feed(b" loss=3\nloss=4\n")
    assert [row.value for row in rows] == ["1", "4"]
    assert reader.counters.overlong == 1


def test_f08_a_progress_bar_of_megabytes_is_no_long_line() -> None:
    """F08: redrawing one line for ever costs no memory, and its last drawing counts."""
    reader = metric_lines.LineReader(["loss"])
    rows = reader.feed(b"\r 10% loss=0.9" * 300_000 + b"\rloss=0.5\r")
    assert len(reader._held) <= metric_lines.LONGEST_LINE + (1 << 18)
    assert [row.value for row in rows + reader.feed(b"\n")] == ["0.5"]
    assert reader.counters.overlong == 0


def test_f08_a_short_drawing_after_a_long_one_counts() -> None:
    """F08: the limit holds for the drawing that counts, not for those it replaced."""
    reader = metric_lines.LineReader(["loss"])
    assert [row.value for row in reader.feed(b"x" * 3_000_000 + b"\rloss=1\r\n")] == ["1"]
    assert reader.feed(b"x" * 3_000_000 + b"\r\n") == []
    assert reader.counters.overlong == 1


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (r"(a+)+$(b)?(c)?", "a" * 16_000 + "!loss"),
        (r"(\w+\s?)*:(loss)", "a " * 8_000 + "loss"),
        (r"(a*)(b)|(loss)|a", "a" * 16_000 + "loss"),
        (r"(.*)*(=)(.*)", "loss" * 4_000),
        (r"()()", "loss" + "x" * 16_000),
        (r"((?:x{0,50}){0,20})(y)", "loss" + "x" * 16_000),
    ],
)
def test_f09_hostile_patterns_take_bounded_time(pattern: str, line: str) -> None:
    """F09: patterns that hang other engines, or that ask for quadratically many matches, cost less than a second of CPU."""
    started = time.process_time()
    read(line + "\n", ["loss"], [pattern])
    assert time.process_time() - started < 1.0


def test_f09_lines_too_long_for_a_pattern_are_left_out() -> None:
    """F09: users' patterns see lines up to 16 KiB; a longer one is counted, not searched."""
    reader = metric_lines.LineReader(["loss"], [r"(loss)=(\d)"])
    assert reader.feed(b"loss=1 " + b"x" * 20_000 + b"\nloss=2\n") == [Row("loss", "2")]
    assert reader.counters.malformed == 1


@pytest.mark.slow
def test_f09_lines_that_are_hostile_to_the_default_filter() -> None:
    """F09: Katib's default filter under ``re`` needs 20 s for 30 kB of name characters; ours is linear on a megabyte."""
    started = time.process_time()
    read("a" * 1_000_000 + "\n" + "loss" * 250_000 + "\n" + "loss=" * 200_000 + "\n" + "loss" + " " * 1_000_000 + "\n")
    assert time.process_time() - started < 4.0


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "is no RE2 pattern: missing"),
        (r"(?<=a)(b)(c)", "is no RE2 pattern"),
        (r"(a)\1(b)", "is no RE2 pattern"),
        ("loss=.*", "needs two groups"),
        ("(loss)=.*", "needs two groups"),
        (r"(\pL{500})(.{900})", "is no RE2 pattern: .*too large"),
        ("(a)(b)" + "x" * 2000, "is 2006 characters long"),
    ],
)
def test_filters_that_cannot_be_used_are_refused(pattern: str, problem: str) -> None:
    """K16: a bad filter is refused with its field path and reason, never used as nothing."""
    with pytest.raises(errors.InvalidError, match=problem) as caught:
        metric_lines.LineReader(["loss"], ["(a)(b)", pattern])
    assert [each.path for each in caught.value.problems] == ["source.filter.metricsFormat[1]"]


@pytest.mark.parametrize(
    ("pattern", "line", "metrics", "pairs"),
    [
        (
            r"{metricName: ([\w|-]+), metricValue: ((-?\d+)(\.\d+)?)}",
            "{metricName: accuracy, metricValue: 0.81};{metricName: loss, metricValue: -3}",
            ["accuracy", "loss"],
            [("accuracy", "0.81"), ("loss", "-3")],
        ),
        (r"(\w+\s\w+)\s:\s((-?\d+)(\.\d+)?)", "val loss : 0.5", ["val loss"], [("val loss", "0.5")]),
        (
            r"([\w-]+)=(Genotype.*)",
            "Best-Genotype=Genotype(a=1;b)",
            ["Best-Genotype"],
            [("Best-Genotype", "Genotype(a=1;b)")],
        ),
        (
            r"'([\w|-]+)'\s*:\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)",
            "{'loss': 0.4, 'eval_loss': 0.5, 'other': nan}",
            ["loss", "eval_loss"],
            [("loss", "0.4"), ("eval_loss", "0.5")],
        ),
        (r"(?P<value>[\d.]+) is the (?P<name>\w+)", "0.25 is the loss", ["loss"], [("loss", "0.25")]),
        (metric_filters.DEFAULT, "loss=nan", ["loss"], [("loss", "nan")]),
        (r"(loss); ([\d.]+)", "loss; 3", ["loss"], [("loss", "3")]),
        (r"(loss)=([\d.]*)", "loss=", ["loss"], []),
    ],
)
def test_user_filters(pattern: str, line: str, metrics: list[str], pairs: list[tuple[str, str]]) -> None:
    """Filters of Katib's examples and named groups are read; ``;`` is an ordinary character (K16)."""
    assert read(line + "\n", metrics, [pattern]) == pairs


def test_several_filters_each_give_their_rows() -> None:
    """Every filter is searched in every line, in the order of the filters."""
    assert read("loss=1 acc: 2\n", filters=[r"(acc): (\d)", r"(loss)=(\d)"]) == [("acc", "2"), ("loss", "1")]


@pytest.mark.parametrize(
    ("line", "stamp"),
    [
        ("2024-01-01T00:00:00Z INFO     loss=2.3033", "2024-01-01T00:00:00Z"),
        ("2024-01-01T02:00:00.25+02:00 loss=1", "2024-01-01T00:00:00.25Z"),
        ("0001-01-01T00:00:00Z loss=1", ""),
        ("9999-12-31T23:59:59Z loss=1", "9999-12-31T23:59:59Z"),
        ("2024-01-01 00:00:00 loss=1", ""),
        ("2024-01-01T00:00:00Z,loss=1", ""),
        ("2024-99-01T00:00:00Z loss=1", ""),
        ("loss=1", ""),
    ],
)
def test_f13_text_times(line: str, stamp: str) -> None:
    """F13: the first word of a line is its time when it is RFC3339, else there is none; order never depends on it."""
    reader = metric_lines.LineReader(["loss"])
    assert [row.time for row in reader.feed(line.encode() + b"\n")] == [stamp]


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ('{"loss": "0.30", "acc": 0.50}', [Row("loss", "0.30"), Row("acc", "0.50")]),
        ('{"acc": 1e-3, "loss": 12345678901234567890}', [Row("loss", "12345678901234567890"), Row("acc", "1e-3")]),
        ('{"loss": NaN, "acc": -Infinity}', [Row("loss", "NaN"), Row("acc", "-Infinity")]),
        ('{"loss": 1, "timestamp": 1.5}', [Row("loss", "1", "1970-01-01T00:00:01.5Z")]),
        ('{"loss": 1, "timestamp": "2024-01-01T01:00:00.5+01:00"}', [Row("loss", "1", "2024-01-01T00:00:00.5Z")]),
        ('{"loss": 1, "timestamp": "yesterday"}', [Row("loss", "1")]),
        ('{"loss": 1, "timestamp": {}}', [Row("loss", "1")]),
        ('{"loss": null, "acc": true}', []),
        ('{"Loss": 1, "nested": {"loss": 1}}', []),
        ('{"\\u006coss": 1}', [Row("loss", "1")]),
        ('["loss"]', []),
        ('{"loss": 1', []),
        ('"loss"', []),
        ("[" * 100_000 + '"loss"', []),
        (
            '{"checkpoint_path": "", "global_step": "3", "loss": "0.5", "timestamp": 1700000000.25, "trial": "0"}',
            [Row("loss", "0.5", "2023-11-14T22:13:20.25Z")],
        ),
    ],
)
def test_json_lines(line: str, rows: list[Row]) -> None:
    """JSON lines give strings and numbers in their own spelling (Katib ignores numbers); a bad line is not the end."""
    reader = metric_lines.LineReader(["loss", "acc"], format="JSON")
    assert reader.feed(line.encode() + b"\n") == rows
    assert reader.feed(b'\n{"acc": 7}\n') == [Row("acc", "7")]


def test_json_lines_that_do_not_parse_are_counted() -> None:
    """A JSON line with a metric's name that does not parse is counted as malformed."""
    reader = metric_lines.LineReader(["loss"], format="JSON")
    reader.feed(b'{"loss": \n{"loss": 1}\nloss=3\n')
    assert (reader.counters.rows, reader.counters.malformed) == (1, 2)


def test_an_unknown_format_is_refused() -> None:
    """Only TEXT and JSON exist."""
    with pytest.raises(errors.BadInputError, match="use TEXT or JSON"):
        metric_lines.LineReader(["loss"], format="CSV")


TEXT_PIECES = st.sampled_from(
    [b"loss=", b"acc=", b"0.", b"9", b"8", b" ", b"\n", b"\r", b"\r\n", b"\x1b[1m", b"\x1b]0;t", b"\x07", b"nan", b"1e", b"\xff",
     b"\xc3\xa9", b"\xef\xbb\xbf", b",", b"2024-01-01T00:00:00Z "]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(TEXT_PIECES, max_size=60).map(b"".join), st.randoms(use_true_random=False), st.booleans())
def test_the_cut_of_the_bytes_never_changes_the_rows(text: bytes, rng: random.Random, clean: bool) -> None:
    """The same bytes in any pieces give the same rows and counters: a log that is read again stores nothing twice."""
    whole = metric_lines.LineReader(["loss", "acc"])
    expected = whole.feed(text) + whole.close(clean)
    pieces = metric_lines.LineReader(["loss", "acc"])
    rows = []
    position = 0
    while position < len(text):
        step = rng.randint(1, 7)
        rows += pieces.feed(text[position : position + step])
        position += step
    rows += pieces.close(clean)
    assert (rows, pieces.counters) == (expected, whole.counters)


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(data: bytes) -> None:
    """No input makes a reader raise."""
    for kind in ("TEXT", "JSON"):
        read(b"loss=" + data + b"\nloss=1\n", format=kind)


@given(st.lists(st.binary(max_size=30).map(lambda part: part.replace(b"\n", b"")), max_size=6))
def test_escape_sequences_never_swallow_a_newline(parts: list[bytes]) -> None:
    """Taking colours out keeps every line a line of its own."""
    text = b"\n".join(b"\x1b" + part for part in parts)
    assert terminal.plain(text).count(b"\n") == text.count(b"\n")


def test_a_log_without_metrics_is_read_at_50_mb_a_second() -> None:
    """Lines that hold no metric's name cost next to nothing."""
    data = b"".join(b"step %d of something, all is well and nothing to see here\n" % index for index in range(200_000))
    reader = metric_lines.LineReader(["loss", "accuracy"])
    started = time.process_time()
    for start in range(0, len(data), 1 << 16):
        reader.feed(data[start : start + (1 << 16)])
    assert len(data) / (time.process_time() - started) > 50e6


@pytest.mark.slow
def test_f10_a_million_metric_lines() -> None:
    """F10: every row of a million lines, in order, within 60 s."""
    reader = metric_lines.LineReader(["loss"])
    started = time.process_time()
    count = 0
    for start in range(0, 1_000_000, 1000):
        rows = reader.feed(b"".join(b"epoch %d loss=0.%d\n" % (index, index) for index in range(start, start + 1000)))
        assert rows[0].value == f"0.{start}"
        count += len(rows)
    assert count == 1_000_000
    assert time.process_time() - started < 60

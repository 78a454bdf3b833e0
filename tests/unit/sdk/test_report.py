"""The report page and what a notebook shows: whole, bounded, and safe against what trials are called."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from kuttab.sdk import report
from unit.sdk import studies


class Reader(HTMLParser):
    """Collects tags, rows and handlers; complains about tags that are not closed."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See the base class."""
        self.seen.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See the base class."""
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See the base class."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_the_page_is_whole_for_any_number_of_trials(count: int) -> None:
    """Every tag is closed, there is one script, no handler, and a row per trial."""
    result = studies.result(count)
    found = Reader(report.page(result, {item.name: studies.HOSTILE * 3 for item in result.trials}))
    assert found.open == []
    assert found.seen.count("script") == 1
    assert found.handlers == []
    table = report.page(result, {}).rpartition("<tbody>")[2]
    assert table.count("<tr>") == count


@pytest.mark.slow
def test_a_large_experiment_shows_its_best_and_newest() -> None:
    """Of 1,500 trials at most a thousand are rows, the best and the last one among them, and the page says so."""
    result = studies.result(1500, curves=False)
    text = report.page(result, {})
    table = text.rpartition("<tbody>")[2]
    assert table.count("<tr>") <= report.MOST_ROWS
    assert f">{result.best.trial.name}</td>" in table
    assert f">{result.trials[-1].name}</td>" in table
    assert "of 1500 trials are shown" in text


def test_long_logs_are_cut_to_their_ends() -> None:
    """A failure shows the end of its log, not all of it."""
    result = studies.result(8)
    failed = next(item for item in result.trials if item.reason)
    text = report.page(result, {failed.name: "start" + "x" * 10_000 + "the end"})
    assert "the end</pre>" in text
    assert "start" not in re.findall(r"<pre>(.*?)</pre>", text)[0]


def test_a_notebook_shows_counts_the_best_and_a_picture() -> None:
    """The fragment is whole, escaped, and small."""
    result = studies.result(40)
    text = result._repr_html_()
    found = Reader(text)
    assert found.open == []
    assert found.seen.count("svg") == 1
    assert f"{result.best.value:.6g}" in text
    assert studies.HOSTILE not in text
    assert "no trials yet" in studies.result(0)._repr_html_()

"""Success and failure conditions."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kuttab.base import errors
from kuttab.rules import gjson

COMPLETE = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
FAILED = 'status.conditions.#(type=="Failed")#|#(status=="True")#'
TEKTON_FAILED = 'status.conditions.#(type=="Succeeded")#|#(status=="False")#'
ARGO = 'status.[@this].#(phase=="Succeeded")#'


def job(*conditions: tuple[str, str]) -> dict[str, Any]:
    """A Job with conditions (type, status)."""
    listed = [{"type": t, "status": s, "reason": f"{t}Reason", "message": f"{t} message"} for t, s in conditions]
    return {"status": {"conditions": listed}}


@pytest.mark.parametrize(
    ("expression", "document", "holds"),
    [
        (COMPLETE, job(("Complete", "True")), True),
        (COMPLETE, job(("Suspended", "False"), ("Complete", "True")), True),
        (COMPLETE, job(("Complete", "False")), False),
        (COMPLETE, job(("Failed", "True")), False),
        (COMPLETE, {"status": {}}, False),
        (COMPLETE, {}, False),
        (COMPLETE, {"status": {"conditions": "text"}}, False),
        (COMPLETE, {"status": {"conditions": [1, None, "x", []]}}, False),
        (FAILED, job(("Complete", "False"), ("Failed", "True")), True),
        (TEKTON_FAILED, job(("Succeeded", "False")), True),
        (TEKTON_FAILED, job(("Succeeded", "Unknown")), False),
        (ARGO, {"status": {"phase": "Succeeded"}}, True),
        (ARGO, {"status": {"phase": "Running"}}, False),
        (ARGO, {}, False),
    ],
)
def test_default_and_published_conditions(expression: str, document: dict[str, Any], holds: bool) -> None:
    """The conditions of every workload kind hold exactly when the live object says so."""
    assert (gjson.match(expression, document) is not None) is holds


def test_match_carries_reason_and_message() -> None:
    """Reason and message of the first matching condition are taken over."""
    found = gjson.match(COMPLETE, job(("Complete", "True")))
    assert found == gjson.Match("CompleteReason", "Complete message")
    assert gjson.match("status", {"status": {"reason": 5}}) == gjson.Match()


PEOPLE = {
    "name": {"first": "Tom", "last": "Anderson"},
    "age": 37,
    "fav.movie": "Deer Hunter",
    "ok": True,
    "none": None,
    "children": ["Sara", "Alex", "Jack"],
    "friends": [
        {"first": "Dale", "last": "Murphy", "age": 44, "nets": ["ig", "fb", "tw"]},
        {"first": "Roger", "last": "Craig", "age": 68, "nets": ["fb", "tw"]},
        {"first": "Jane", "last": "Murphy", "age": 47, "nets": ["ig", "tw"], "ok": False},
    ],
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("name.last", "Anderson"),
        ("age", 37),
        ("children.#", 3),
        ("children.1", "Alex"),
        ("children.9", None),
        ("child*.2", "Jack"),
        ("c?ildren.0", "Sara"),
        (r"fav\.movie", "Deer Hunter"),
        ("friends.#.first", ["Dale", "Roger", "Jane"]),
        ("friends.#.ok", [False]),
        ('friends.#(last=="Murphy").first', "Dale"),
        ('friends.#(last=="Murphy")#.first', ["Dale", "Jane"]),
        ("friends.#(age>45)#.last", ["Craig", "Murphy"]),
        ("friends.#(age>=44)#|#", 3),
        ("friends.#(age<45)#.age", [44]),
        ("friends.#(age<=47)#.age", [44, 47]),
        ("friends.#(age==68).first", "Roger"),
        ('friends.#(first%"D*").last', "Murphy"),
        ('friends.#(first!%"D*").last', "Craig"),
        ('friends.#(last!="Murphy")#.first', ["Roger"]),
        ('friends.#(nets.#(=="fb"))#.first', ["Dale", "Roger"]),
        ("friends.#(ok)#.first", ["Jane"]),
        ("friends.#(ok==false)#.first", ["Jane"]),
        ('children.#(="Alex")', "Alex"),
        ('children.#(%"?a*")#', ["Sara", "Jack"]),
        ("name|first", "Tom"),
        ("friends.#.nets|0", ["ig", "fb", "tw"]),
        ("friends.#.nets.0", ["ig", "fb", "ig"]),
        ("[age,name.first,nothing]", [37, "Tom"]),
        ("friends.#.[first,age]", [["Dale", 44], ["Roger", 68], ["Jane", 47]]),
        ("@this.age", 37),
        ("age.x", None),
        ("none.x", None),
        ('friends.#(age=="old")', None),
        ('friends.#(first>"K")#.first', ["Roger"]),
    ],
)
def test_language(expression: str, value: Any) -> None:
    """Paths, wildcards, escapes, queries, pipes, maps and multipaths find what GJSON's own documentation says."""
    assert gjson.find(expression, PEOPLE) == value


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("", "empty"),
        ("status.", "ends in the middle"),
        ("status..x", "empty field name"),
        ("status.conditions.#(type==", "never closed"),
        ('status.#(type=="x"', "never closed"),
        ("status.#()", "empty query"),
        ("status.#(a==)", "write a text in double quotes"),
        ("status.#(a=='x')", "write a text in double quotes"),
        ("status.#(a==~true)", "tilde"),
        ("status.@reverse", "@reverse"),
        ("{a,b}", "object multipath"),
        ("!true", "literal"),
        ("a)b", "')'"),
        ("[a,]", "empty path"),
        ("x" * 100_000, "100000 characters"),
        ("#(a." * 40 + "b" + ")" * 40, "deeper"),
        ("[" * 2000, "never closed"),
        ("a\\", "backslash"),
    ],
)
def test_refused(expression: str, part: str) -> None:
    """[row 135] What cannot be used is refused with a sentence that names the place, by check and by match alike."""
    assert part in gjson.check(expression)
    with pytest.raises(errors.BadInputError, match="condition"):
        gjson.match(expression, {})


def test_accepted_expressions_have_no_problem() -> None:
    """The conditions in use pass the check."""
    assert [gjson.check(e) for e in (COMPLETE, FAILED, TEKTON_FAILED, ARGO)] == ["", "", "", ""]


def test_hostile_pattern_has_a_budget() -> None:
    """[row 135] A pattern that makes other engines run for ever ends within the step budget, with the expression named."""
    expression = 'a.#(x%"*a*a*a*a*a*a*a*a*a*a*b")#'
    document = {"a": [{"x": "a" * 5000}] * 50}
    assert gjson.check(expression) == ""
    started = time.process_time()
    with pytest.raises(errors.BadInputError, match="steps"):
        gjson.match(expression, document)
    assert time.process_time() - started < 2


def test_deep_documents_are_fine() -> None:
    """Nothing recurses over the document, so its depth does not matter."""
    document: dict[str, Any] = {}
    for _ in range(20_000):
        document = {"a": document}
    assert gjson.match(COMPLETE, document) is None

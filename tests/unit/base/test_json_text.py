"""JSON on the wire: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.base import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
)  # fmt: skip


@given(VALUES)
def test_values_go_round(value: Any) -> None:
    """What is written reads back as the same, here and by the standard library."""
    text = json_text.dumps(value)
    assert json_text.loads(text) == json.loads(text) == value


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"NaN", b"[Infinity]", b"-Infinity", b'"\xff"', b'"\\ud800"', b'"\xed\xa0\x80"', b"{} x", b"1\x00", b"01", b"+1", b"1.",
     b".5", b"-", b'"a\x01b"', b'"\t"', b'"\\x41"', b"{'a':1}", b"{1:2}", b"[1,]", b'{"a":1,}', b"[1 2]", b"// c\n1", b"\xef\xbb\xbf1",
     b"TRUE", b"1" * 5000, b"\xff\xfe{\x00}\x00"],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """Only the grammar of RFC 8259 in UTF-8 is read."""
    with pytest.raises(ValueError, match=r"\w"):
        json_text.loads(text)


def test_depth_is_bounded() -> None:
    """As deep as is said, and no deeper: a text of a million brackets costs nothing."""
    deep = json_text.MAX_DEPTH
    assert json_text.loads(b"[" * deep + b"1" + b"]" * deep)
    for levels in (deep + 1, 1_000_000):
        with pytest.raises(json_text.DeepError, match=f"deeper than {deep} levels"):
            json_text.loads(b"[" * levels + b"1" + b"]" * levels)


def test_text_is_compact_and_plain() -> None:
    """No blanks, letters as they are; infinities and NaN, for which JSON has no word, become null; large integers stay exact."""
    value = {"é": [1, 2.0, True, None], "n": [float("nan"), float("-inf")], "big": 2**64 + 1}
    assert json_text.dumps(value).decode() == '{"é":[1,2.0,true,null],"n":[null,null],"big":18446744073709551617}'


@pytest.mark.parametrize("value", [object(), "\ud800", {"a": ["\udfff"]}])
def test_what_has_no_form_is_refused(value: Any) -> None:
    """It is an error, not a text that nobody can read."""
    with pytest.raises(ValueError, match=r"\w"):
        json_text.dumps(value)

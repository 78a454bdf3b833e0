"""Plain YAML words mean what they mean to kubectl."""

import json
import math
import shutil
import subprocess

import pytest

from kuttab.admission import scalars, yaml
from kuttab.base import errors

TEXT = """
~ + . .. = 1__0 0x_1F 1e+3 1e-3 1e3 0b -0x1 -010 +.5 .5 1.5e3 ._5 0. -.5 0o8 0o17 .1e 0X1F 0B1 0O7 -0b1 +0b1 +0x1 0o-1 1,000 1:2 Y y N n
Yes oN OFF off no NO True TRUE tRUE Null NULL nULL 0x 0_1 _1 1_ 1_.5 1._5 1e 1e5_0 9223372036854775807 9223372036854775808
-9223372036854775808 -9223372036854775809 18446744073709551615 18446744073709551616 0xFFFFFFFFFFFFFFFF 0x1FFFFFFFFFFFFFFFF 1e999 -1e999
1e-400 2001-01-01 2001-01-01T00:00:00+01:00 2001-1-1 0x1p4 infinity inf nan NaN Inf -inf .e3 1.e3 +1e3 -0 -0.0 0e0 00 010 08 0.10 1.50
123456789012345678901 1e20 1.5e20 1e21 1e30 1e-7 0.000001 0.1e-5 0b12 0b1111 1_000.5 +1_000 ++1 --1 +-1 1+1 .5.5 1.2.3 1e3.5 0755 0o755
07_7 -0o7 +0o7 0.5f 5d 1L 0x1g False 12:30:45 190:20:30 12e03 685_230.15
"""
WORDS = TEXT.split()


def kubectl(text: str) -> dict:
    """What kubectl makes of a manifest."""
    run = subprocess.run(
        ["kubectl", "annotate", "--local", "-f", "-", "-o", "json", "oracle=1"],
        input=text.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    if run.returncode:
        raise ValueError(run.stderr.decode())
    return json.loads(run.stdout)


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: the words below were recorded from it"
)
def test_words_as_kubectl_reads_them() -> None:
    """Every plain word has the value that kubectl gives it."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n"
    text += "".join(f"  k{i}: {word}\n" for i, word in enumerate(WORDS))
    try:
        theirs = kubectl(text)["data"]
    except (ValueError, OSError) as error:
        pytest.skip(f"kubectl does not run here: {error}")
    for i, word in enumerate(WORDS):
        ours, want = scalars.resolve(word), theirs[f"k{i}"]
        assert type(ours) is type(want) or {type(ours), type(want)} == {int, float}, word
        assert ours == want or (isinstance(want, float) and math.isclose(ours, want, rel_tol=1e-15)), word


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("12:30:45", "12:30:45"), ("0o17", 15), ("010", 8), ("1e3", 1000), ("no", False), ("y", True), ("2001-01-01", "2001-01-01"),
        ("1.0", 1), ("0.001", 0.001), ("1e30", 1e30), ("1_000", 1000), ("~", None), ("", None), ("08", 8), ("=", "="), ("1e999", "1e999"),
        ("0x10", 16), ("-0b11", -3), ("18446744073709551616", 18446744073709552000), ("+", "+"), (".5", 0.5), ("9" * 500, "9" * 500),
    ],
)  # fmt: skip
def test_recorded_words(word: str, value: object) -> None:
    """The answers recorded from kubectl hold without it."""
    assert scalars.resolve(word) == value
    assert type(scalars.resolve(word)) is type(value)


@pytest.mark.parametrize("word", [".nan", ".NaN", ".inf", "-.inf", "+.Inf"])
def test_words_without_json_form(word: str) -> None:
    """A number that JSON cannot hold is refused with its line."""
    with pytest.raises(errors.InvalidError, match="no JSON form") as caught:
        yaml.load(f"spec:\n  goal: {word}\n")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 9)

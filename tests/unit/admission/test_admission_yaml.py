"""Reading manifests: positions, several documents, and every way a file can be wrong."""

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from kuttab.admission import yaml, yaml_reader
from kuttab.base import errors
from unit.admission.test_admission_scalars import kubectl

MANIFEST = """\
# a comment
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata:
  name: x
  labels:
    app.kubernetes.io/name: y
spec:
  parameters:
    - name: lr
      feasibleSpace: {min: "1",
                      max: "2"}
"""


def refusal(text: bytes | str, says: str) -> errors.Problem:
    """The single problem of a text that cannot be read."""
    with pytest.raises(errors.InvalidError) as caught:
        yaml.load(text, "x.yaml")
    (problem,) = caught.value.problems
    assert says in problem.message
    assert caught.value.subject == "x.yaml"
    return problem


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("spec.parameters[0].feasibleSpace.max", (12, 23)),
        ("spec.parameters[0].name", (10, 7)),
        ("spec.parameters[0]", (10, 7)),
        ("metadata.labels[app.kubernetes.io/name]", (7, 5)),
        ("spec.parameters[0].feasibleSpace.step", (11, 7)),
        ("spec.parameters[7].name", (9, 3)),
        ("spec.objective.type", (8, 1)),
        ("spec.parameters[lr].feasibleSpace.max", (12, 23)),
        ("spec.parameters[momentum].name", (9, 3)),
        ("spec.parameters[name]", (9, 3)),
        ("", (2, 1)),
        ("???", (2, 1)),
    ],
)
def test_line_of_a_field(path: str, place: tuple[int, int]) -> None:
    """A path leads to the line of the field, or of the nearest one above it."""
    assert yaml.load(MANIFEST)[0].line_of(path) == place


def test_lines_survive_a_changed_value() -> None:
    """A caller that changes the value it read still gets lines, of the file as it was."""
    document = yaml.load(MANIFEST)[0]
    document.value["spec"] = {"parameters": 5}
    assert document.line_of("spec.parameters[0].name") == (10, 7)
    assert document.line_of("spec.parameters[lr].name") == (9, 3)
    document.value["spec"] = []
    assert document.line_of("spec.parameters[0].name") == (10, 7)


def test_problem_gets_its_line() -> None:
    """A problem found by path is given the line that an editor can jump to."""
    located = yaml.load(MANIFEST)[0].locate(errors.Problem("spec.parameters[0].name", "bad", "R"))
    assert located == errors.Problem("spec.parameters[0].name", "bad", "R", 10, 7)


def test_several_documents() -> None:
    """Documents come in order, empty ones and comments are skipped, and lines count through the file."""
    found = yaml.load(b"---\n# nothing\n---\na: 1\n---\n---\nb:\n  c: 2\n...\n", "f")
    assert [(d.value, d.index, d.origin) for d in found] == [({"a": 1}, 0, "f"), ({"b": {"c": 2}}, 1, "f")]
    assert found[1].line_of("b.c") == (8, 3)


def test_single_object() -> None:
    """A text that should hold one object is refused when it holds more."""
    assert yaml.load_one("a: 1") == {"a": 1}
    with pytest.raises(errors.InvalidError, match="2 documents where one"):
        yaml.load_one("a: 1\n---\nb: 2")


def test_json_with_positions_and_surrogate_pairs() -> None:
    """JSON is read as JSON, several objects too, and fields have lines where that is possible."""
    (one,) = yaml.load('{\n "a": {"b": [1, 2.50, "x"]}}')
    assert one.value == {"a": {"b": [1, 2.5, "x"]}}
    assert one.line_of("a.b[1]") == (2, 17)
    (pair,) = yaml.load('{"a": "\\ud83d\\ude00"}')
    assert pair.value == {"a": "\U0001f600"}
    assert pair.line_of("a") == (1, 1)
    assert [d.value for d in yaml.load('{"a": 1}\n{"b": 2}')] == [{"a": 1}, {"b": 2}]


def test_yaml_that_looks_like_json() -> None:
    """A YAML file may begin with a brace."""
    assert yaml.load("{a: 1, b: [x, 'y']}")[0].value == {"a": 1, "b": ["x", "y"]}


def test_text_in_quotes_and_blocks_stays_text() -> None:
    """Only plain words are looked up; quoted and block text is taken as it is."""
    text = "a: '010'\nb: \"no\"\nc: |\n  1e3\nd: >-\n  12:30:45\ne: !!str 010\nf: ! 5\n"
    assert yaml.load(text)[0].value == {"a": "010", "b": "no", "c": "1e3\n", "d": "12:30:45", "e": "010", "f": "5"}


def test_anchors_aliases_and_merges() -> None:
    """Aliases repeat, merges fill in, and what is repeated is not shared."""
    text = """
base: &base {p: 1, q: [1]}
more: &more {p: 3, r: 4}
one: *base
two: {<<: *base, p: 5}
three:
  <<: [*base, *more]
key: &word value
again: *word
"""
    value = yaml.load(text)[0].value
    assert value["one"] == {"p": 1, "q": [1]}
    assert value["two"] == {"p": 5, "q": [1]}
    assert value["three"] == {"p": 1, "q": [1], "r": 4}
    assert value["again"] == "value"
    value["one"]["q"].append(2)
    assert value["base"]["q"] == [1]


@pytest.mark.parametrize(
    ("text", "says", "place"),
    [
        ("a: 1\na: 2\n", "'a' stands twice", (2, 1)),
        ("a: {b: 1, 'b': 2}\n", "'b' stands twice", (1, 11)),
        ("x: &a {p: 1}\nz:\n  p: 2\n  <<: *a\n", "stands after the key 'p'", (4, 3)),
        ("x:\n  <<: 5\n", "<< takes a mapping", (2, 3)),
        ("x:\n  <<: [5]\n", "<< takes a mapping", (2, 3)),
        ("a: *b\n", "alias *b", (1, 4)),
        ("a: &a [*a]\n", "alias *a", (1, 8)),
        ("a: &k v\n*k : 1\n", "written out", (2, 1)),
        ("[a]: 1\n", "a key must be a word", (1, 1)),
        ("? {a: b}\n: 1\n", "a key must be a word", (1, 3)),
        ("y: 1\n", "the key y is read as true", (1, 1)),
        ("a:\n  no: 1\n", "the key no is read as false", (2, 3)),
        ("010: 1\n", "the key 010 is read as 8", (1, 1)),
        ("~: 1\n", "the key ~ is read as null", (1, 1)),
        ("a: !!python/object/apply:os.system ['touch canary']\n", "the tag !!python/object", (1, 4)),
        ("a: !!binary aGVsbG8=\n", "the tag !!binary", (1, 4)),
        ("a: !foo {b: 1}\n", "the tag !foo", (1, 4)),
        ("a:\n\tb: 1\n", "indent with spaces, not tabs", (2, 1)),
        ("a: [1, 2\n", "cannot be read as YAML", (2, 1)),
        ("a: 'x\n", "cannot be read as YAML", None),
        ("- a\n", "holds a list where an object", (1, 1)),
        ("hello\n", "holds a single word where an object", (1, 1)),
        ("a: 1\n---\n5\n", "holds a single word", (3, 1)),
        ("", "holds no object", None),
        ("# only a comment\n---\n", "holds no object", None),
        ("a: 1\0\n", "NUL character", (1, 5)),
        ("ab\nc\ud800: 1\n", "half of a surrogate pair", (2, 2)),
        ("a: \"\\ud800\"\n", "cannot be read as YAML", None),
        ("a: \x07\n", "cannot be read as YAML", None),
        (b"a: 1\nb: \xff\xfe\n", "no text in UTF-8", (2, 4)),
        ("a: 1\n".encode("utf-16"), "UTF-16; save it as UTF-8", None),
        ("a: 1\n".encode("utf-16-le"), "NUL character", (1, 2)),
        (b"\x7fELF\x01\x02\x03\x00", "NUL character", (1, 8)),
        ('{"a": 1, "a": 2}', "the key 'a' twice", None),
        ('{"a": NaN}', "NaN is no JSON", None),
        ('{"a": -Infinity}', "-Infinity is no JSON", None),
        ('{"a": "\\ud800"}', "half of a surrogate pair", None),
        ('{"a": 1} 5', "holds a value that is no object", None),
        ('{"a": 1', "cannot be read as YAML", None),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", "nested deeper than 64", (1, 70)),
        ("a: " + "[" * 100_000, "nested deeper than 64", None),
        ("? " * 5000, "key must be a word", None),
        ("- " * 100 + "a", "nested deeper than 64", None),
        ("a: [" + "1, " * 100_001 + "]", "holds more than 100000 values", None),
        ('{"a": [' + "1," * 100_001 + "1]}", "holds more than 100000 values", None),
        ("---\na: 1\n" * 201, "holds more than 200 documents", (402, 1)),
        ("{}" * 201, "holds more than 200 documents", None),
        ('{"' + '\\\\"' * 200_000, "cannot be read as YAML", None),
        ("{}" * 200_000, "holds more than 200 documents", None),
        ("---\n" * 300_000, "holds more than 100000 values", None),
        ("#\n" * 200_000, "holds no object", None),
        ("a" * (yaml.MAX_BYTES + 1), "at most 4194304 are read", None),
    ],
)  # fmt: skip
def test_refused_texts(text: bytes | str, says: str, place: tuple[int, int] | None) -> None:
    """Every text that cannot be read one way only is refused, with its line where there is one."""
    problem = refusal(text, says)
    if place is not None:
        assert (problem.line, problem.column) == place


def bomb(leaf: str, width: int, depth: int) -> str:
    """A text whose aliases stand for ``width ** depth`` leaves."""
    lines = [f"a0: &a0 {leaf}"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"), [(bomb("lol", 10, 10), "100000 values"), (bomb(f'"{"x" * 100_000}"', 50, 3), "characters")]
)
def test_alias_bombs(text: str, says: str) -> None:
    """Aliases count with all they stand for, so a bomb costs neither time nor memory."""
    tracemalloc.start()
    start = time.perf_counter()
    refusal(text, says)
    elapsed = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    assert elapsed < 2  # 0.1 s without memory tracing on a machine with nothing else to do


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfa: 1\r\nb: |\r\n  x\r\n", "\ufeffa: 1\nb: |\n  x\n"])
def test_byte_order_mark_and_windows_lines(text: bytes | str) -> None:
    """Files from Windows editors are read like any other."""
    assert yaml.load(text)[0].value == {"a": 1, "b": "x\n"}


def test_pure_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libyaml the slower parser gives the same values and places."""
    fast = yaml.load(MANIFEST)[0]
    monkeypatch.setattr(yaml_reader, "_LOADER", yaml_reader.yaml.SafeLoader)
    slow = yaml.load(MANIFEST)[0]
    assert (slow.value, slow.place) == (fast.value, fast.place)
    assert "cannot be read as YAML" in refusal("a: \x07\n", "").message
    assert refusal("ab: 1\na: \x07\n", "").line == 2
    assert refusal("a: {b: 1", "cannot be read").line is not None


@pytest.mark.parametrize(
    "data",
    [
        "data:\n  x: &a {p: 1, q: 2}\n  z:\n    <<: *a\n    p: 5\n",
        'data:\n  1: a\n  -5: b\n  2001-01-01: c\n  "010": d\n',
        "data: {a, b: 1}\n",
        "data:\n  a: |\n    1\n    \n    2\n  b: >\n    x\n    y\n\n    z\n  c: \"x\\ty\\u00e9\\\n    z\"\n  d: 'it''s'\n",
        "data:\n  ? a\n  ? b\n",
    ],
)
def test_documents_as_kubectl_reads_them(data: str) -> None:
    """Mappings, merges, keys and block text have the values that kubectl gives them."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" + data
    try:
        theirs = kubectl(text)
    except (ValueError, OSError) as error:
        pytest.skip(f"kubectl does not run here: {error}")
    del theirs["metadata"]["annotations"]
    assert json.loads(json.dumps(yaml.load(text)[0].value)) == theirs


SHARED = Path(__file__).parents[4] / "shared" / "katib-examples"


@pytest.mark.parametrize("path", sorted(SHARED.glob("*/*.yaml")), ids=lambda path: path.name)
def test_examples_as_kubectl_reads_them(path: Path) -> None:
    """Katib's published files have the values that kubectl gives them."""
    (document,) = yaml.load(path.read_bytes(), path.name)
    named = "metadata" in document.value
    try:
        theirs = kubectl(path.read_text() + ("" if named else "\nmetadata: {name: x}\n"))
    except (ValueError, OSError) as error:
        pytest.skip(f"kubectl does not run here: {error}")
    del theirs["metadata"]["annotations"]
    if not named:
        del theirs["metadata"]
    assert document.value == theirs

"""What architecture searches share: checks, expansion, and the text form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.algorithms import nas
from kuttab.api import space


def config(*operations: dict[str, object], layers: int | None = 2, **graph: object) -> space.NasConfig:
    """A nasConfig from plain JSON."""
    return space.NasConfig.model_validate(
        {
            "graphConfig": {"numLayers": layers, "inputSizes": [8], "outputSizes": [2], **graph},
            "operations": list(operations),
        }
    )


def parameter(name: str, kind: str, **feasible: object) -> dict[str, object]:
    """One operation parameter from plain JSON."""
    return {"name": name, "parameterType": kind, "feasibleSpace": feasible}


def operation(kind: str, *parameters: dict[str, object]) -> dict[str, object]:
    """One operation from plain JSON."""
    return {"operationType": kind, "parameters": list(parameters)}


def test_operations_are_numbered_with_the_last_parameter_fastest() -> None:
    """Ids run over operations in order and over the product of values; list values stay text, ints are numbers."""
    made = nas.expand(
        config(
            operation(
                "conv",
                parameter("size", "categorical", list=["3", "5"]),
                parameter("n", "int", min="1", max="5", step="2"),
            ),
            operation("pool", parameter("kind", "discrete", list=["2", "1"])),
        )
    )
    assert [(c.id, c.type, dict(c.parameters)) for c in made] == [
        (0, "conv", {"size": "3", "n": 1}),
        (1, "conv", {"size": "3", "n": 3}),
        (2, "conv", {"size": "3", "n": 5}),
        (3, "conv", {"size": "5", "n": 1}),
        (4, "conv", {"size": "5", "n": 3}),
        (5, "conv", {"size": "5", "n": 5}),
        (6, "pool", {"kind": "2"}),
        (7, "pool", {"kind": "1"}),
    ]
    assert made[1].describe() == {"opt_id": 1, "opt_type": "conv", "opt_params": {"size": "3", "n": 3}}


@pytest.mark.parametrize(
    ("low", "high", "step", "expected"),
    [
        ("0.1", "0.5", "0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),  # float noise neither loses the end ...
        ("0.1", "0.55", "0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),  # ... nor goes beyond it
        ("0", "1", "0.4", [0.0, 0.4, 0.8]),
        ("2", "2", "1", [2.0]),
    ],
)
def test_doubles_span_their_grid(low: str, high: str, step: str, expected: list[float]) -> None:
    """A double with a step gives min, min+step, ... up to max."""
    (op,) = config(operation("x", parameter("p", "double", min=low, max=high, step=step))).operations or []
    assert nas.values(op.parameters[0]) == expected  # type: ignore[index]


def test_every_problem_is_named_with_its_path() -> None:
    """All checks of the contract speak at once, each at its field."""
    subject = config(
        operation("", parameter("p", "categorical", list=["1"])),
        operation("conv"),
        operation("skip_connection"),
        operation(
            "many",
            parameter("", "int", min="1", max="2"),
            parameter("a", "categorical"),
            parameter("a", "float"),
            parameter("b", "int", min="x", max="2"),
            parameter("c", "double", min="0", max="1"),
            parameter("d", "double", min="0", max="1", step="0"),
            parameter("e", "int", min="3", max="2"),
            parameter("f", "double", min="0", max="nan", step="1"),
            parameter("g", "categorical", list=["ok", "it's"]),
        ),
        layers=0,
        inputSizes=[],
        outputSizes=[0],
    )
    at = "spec.nasConfig"
    assert [p.path for p in nas.problems(subject, sizes=True, free=("skip_connection",))] == [
        f"{at}.graphConfig.numLayers",
        f"{at}.graphConfig.inputSizes",
        f"{at}.graphConfig.outputSizes",
        f"{at}.operations[0].operationType",
        f"{at}.operations[1].parameters",
        f"{at}.operations[3].parameters[0].name",
        f"{at}.operations[3].parameters[1].feasibleSpace.list",
        f"{at}.operations[3].parameters[2].name",
        f"{at}.operations[3].parameters[2].parameterType",
        f"{at}.operations[3].parameters[3].feasibleSpace.min",
        f"{at}.operations[3].parameters[4].feasibleSpace.step",
        f"{at}.operations[3].parameters[5].feasibleSpace.step",
        f"{at}.operations[3].parameters[6].feasibleSpace.max",
        f"{at}.operations[3].parameters[7].feasibleSpace.max",
        f"{at}.operations[3].parameters[8].feasibleSpace.list[1]",
    ]


def test_nothing_at_all_is_a_problem() -> None:
    """A missing config, missing layers and missing operations are each named."""
    assert [p.path for p in nas.problems(None, sizes=True)] == ["spec.nasConfig"]
    assert [p.path for p in nas.problems(space.NasConfig(), sizes=False)] == [
        "spec.nasConfig.graphConfig.numLayers",
        "spec.nasConfig.operations",
    ]


def test_an_explosion_of_combinations_is_refused() -> None:
    """A product too large to number is refused by its size, without being built."""
    wide = [parameter(f"p{i}", "int", min="1", max="1000000000") for i in range(9)]
    (problem,) = nas.problems(config(operation("x", *wide)), sizes=True)
    assert str(10**81) in problem.message
    tiny = parameter("p", "double", min="0", max="1e300", step="1e-300")
    assert len(nas.problems(config(operation("x", tiny)), sizes=True)) == 1


JSON = st.recursive(
    st.one_of(st.integers(-9, 9), st.text("abc é", max_size=4), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("xyz", max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_quoting_is_reversed_as_programs_do(value: object) -> None:
    """Replacing the quotes back gives JSON again, for every value without quotes and backslashes."""
    text = nas.quoted(value)
    assert '"' not in text
    assert nas.unquoted(text) == value


def test_a_foreign_text_is_a_value_error() -> None:
    """Nothing but ValueError comes out of hostile text."""
    for text in ("", "[", "[" * 100_000, "{'a': }"):
        with pytest.raises(ValueError):  # noqa: PT011 - json.JSONDecodeError is one
            nas.unquoted(text)

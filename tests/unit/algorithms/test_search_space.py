"""The numeric view of search spaces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kuttab.algorithms import codec, distinct, history, permutation
from kuttab.algorithms import space as spaces
from kuttab.base import errors
from kuttab.testing.algorithms import MIXED, SMALL, parameter


def space_of(*specs: object) -> spaces.Space:
    """A space of these parameters."""
    return spaces.from_specs(specs)  # type: ignore[arg-type]


def draws(spec: object, n: int = 20_000) -> np.ndarray:
    """Codes of one parameter, drawn with a fixed seed."""
    return space_of(spec).sample(np.random.default_rng(5), n)[:, 0]


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        ("uniform", stats.uniform(0.01, 9.99)),
        ("logUniform", stats.loguniform(0.01, 10)),
        ("normal", stats.truncnorm(-3, 3, loc=5.005, scale=9.99 / 6)),
    ],
)
def test_doubles_follow_their_distribution(distribution: str, reference: stats.rv_continuous) -> None:
    """A double's draws pass a Kolmogorov-Smirnov test against the declared distribution."""
    sample = draws(parameter("x", "double", min="0.01", max="10", distribution=distribution))
    assert stats.kstest(sample, reference.cdf).pvalue > 0.001


def test_log_normal_is_normal_on_the_logarithms() -> None:
    """logNormal has its mean and a sixth of its range on the logarithms."""
    sample = np.log(draws(parameter("x", "double", min="0.01", max="10", distribution="logNormal")))
    low, high = np.log(0.01), np.log(10)
    reference = stats.truncnorm(-3, 3, loc=(low + high) / 2, scale=(high - low) / 6)
    assert stats.kstest(sample, reference.cdf).pvalue > 0.001


def expected_masses(distribution: str, low: int, high: int) -> np.ndarray:
    """Probabilities of low .. high when the continuous distribution is rounded, written out one by one."""
    edges = [low - 0.5 + i for i in range(high - low + 2)]
    if distribution.startswith("log"):
        edges[0] = max(edges[0], low / 2)
    points = np.log(edges) if distribution.startswith("log") else np.array(edges)
    ends = (np.log(low), np.log(high)) if distribution.startswith("log") else (low, high)
    if distribution.lower().endswith("normal"):
        points = stats.norm((ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 6).cdf(points)
    masses = np.diff(points)
    return masses / masses.sum()


@pytest.mark.parametrize("distribution", ["uniform", "logUniform", "normal", "logNormal"])
def test_integers_follow_their_distribution(distribution: str) -> None:
    """An int's draws pass a chi-square test: uniform has equal cells, the others the mass between the midpoints."""
    sample = draws(parameter("n", "int", min="1", max="20", distribution=distribution))
    observed = np.bincount(sample.astype(int), minlength=21)[1:]
    expected = expected_masses(distribution, 1, 20) * len(sample)
    keep = expected > 5
    statistic = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
    assert stats.chi2(keep.sum() - 1).sf(statistic) > 0.001
    assert observed.sum() == len(sample)


def test_lists_are_even() -> None:
    """Every entry of a discrete or categorical list is as likely."""
    for kind in ("discrete", "categorical"):
        sample = draws(parameter("c", kind, choices=["3", "1", "2"]))
        assert stats.chisquare(np.bincount(sample.astype(int))).pvalue > 0.001


def test_steps_start_at_min_and_stay_decimal() -> None:
    """A stepped double takes min, min+step, ... up to max, each with the shortest spelling: 0.3, not 0.30000000000000004."""
    space = space_of(parameter("x", "double", min="0.1", max="1", step="0.1"))
    sample = {space.parameters[0].format(code) for code in space.sample(np.random.default_rng(0), 2000)[:, 0]}
    assert sorted(sample) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]


def test_a_step_that_does_not_divide_the_range_stops_below_max() -> None:
    """With min 1, max 10, step 4 the values are 1, 5 and 9."""
    space = space_of(parameter("n", "int", min="1", max="10", step="4"))
    assert set(space.sample(np.random.default_rng(0), 300)[:, 0]) == {1.0, 5.0, 9.0}
    assert space.cardinality == 3


def test_unit_values_and_points_round_trip() -> None:
    """Point -> unit -> point gives the same point, for every type."""
    space = spaces.from_specs(MIXED)
    codes = space.sample(np.random.default_rng(1), 500)
    again = space.decode(space.encode(codes))
    smooth = [j for j, p in enumerate(space.parameters) if p.count is None]
    grids = [j for j, p in enumerate(space.parameters) if p.count is not None]
    assert np.array_equal(codes[:, grids], again[:, grids])
    assert np.allclose(codes[:, smooth], again[:, smooth], rtol=1e-9)


def test_units_of_a_grid_are_the_middles_of_cells() -> None:
    """Three equal cells have their middles at a sixth, a half and five sixths."""
    space = space_of(parameter("n", "int", min="4", max="6"))
    assert np.allclose(space.encode(np.array([[4.0], [5.0], [6.0]]))[:, 0], [1 / 6, 1 / 2, 5 / 6])


def test_extreme_units_stay_inside() -> None:
    """The corners of the unit cube, and what lies beyond, map to points of the space."""
    space = spaces.from_specs([*MIXED, parameter("b", "double", min="1", max="7", distribution="logNormal")])
    for corner in (-1.0, 0.0, 1.0, 2.0):
        assert space.contains(space.decode(np.full((1, len(space)), corner))[0])


def test_discrete_is_in_numeric_order_and_verbatim() -> None:
    """A discrete list is ordered by number whatever its order in the manifest, and its texts come back as they were."""
    space = space_of(parameter("d", "discrete", choices=["1e-1", "0.50", "0.01"]))
    assert space.parameters[0].choices == ("0.01", "1e-1", "0.50")
    assert space.format(space.parse({"d": "0.1"})) == {"d": "1e-1"}


def test_a_discrete_list_of_words_has_no_order() -> None:
    """Katib takes any text in a discrete list; without numbers it is categorical."""
    assert space_of(parameter("d", "discrete", choices=["b", "a"])).categorical.tolist() == [True]


def test_cardinality_is_exact_however_large() -> None:
    """A hundred parameters of a million values have 10^600 points, and each can be addressed."""
    space = spaces.from_specs([parameter(f"n{i}", "int", min="1", max="1000000") for i in range(100)])
    assert space.cardinality == 10**600
    assert space.at(10**600 - 1).tolist() == [1e6] * 100
    assert spaces.from_specs(MIXED).cardinality is None
    assert spaces.from_specs([]).cardinality == 1


def test_neighbours_differ_by_one_place() -> None:
    """An int's and a discrete's neighbours are next to it; a category's are all others; a double without step has none."""
    space = space_of(
        parameter("n", "int", min="1", max="3"),
        parameter("c", "categorical", choices=["x", "y", "z"]),
        parameter("x", "double", min="0", max="1"),
    )
    around = [space.point(row) for row in space.neighbours(space.codes([1, "y", 0.5]))]
    assert around == [(2, "y", 0.5), (1, "x", 0.5), (1, "z", 0.5)]


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        (parameter("", "int", min="1", max="2"), "[0].name", "needs a name"),
        (parameter("a", "float", min="1", max="2"), "[0].parameterType", "no parameter type"),
        (parameter("a", "int", min="1"), "[0].feasibleSpace.max", "needs a number"),
        (parameter("a", "int", min="1.5", max="2"), "[0].feasibleSpace.min", "not an integer"),
        (parameter("a", "int", min="1", max=str(10**17)), "[0].feasibleSpace.max", "2^53"),
        (parameter("a", "double", min="nan", max="2"), "[0].feasibleSpace.min", "finite"),
        (parameter("a", "double", min="-1e308", max="1e308"), "[0].feasibleSpace.max", "finite"),
        (parameter("a", "double", min="3", max="2"), "[0].feasibleSpace.max", "below min"),
        (parameter("a", "double", min="1", max="2", step="0"), "[0].feasibleSpace.step", "greater than 0"),
        (
            parameter("a", "double", min="0", max="2", distribution="logUniform"),
            "[0].feasibleSpace.min",
            "greater than 0",
        ),
        (
            parameter("a", "double", min="0", max="2", distribution="cauchy"),
            "[0].feasibleSpace.distribution",
            "no distribution",
        ),
        (parameter("a", "categorical"), "[0].feasibleSpace.list", "needs a list"),
        (parameter("a", "categorical", choices=["x", "x"]), "[0].feasibleSpace.list[1]", "listed twice"),
        (
            parameter("a", "discrete", choices=["1"], distribution="normal"),
            "[0].feasibleSpace.distribution",
            "always uniform",
        ),
    ],
)
def test_bad_parameters_are_named(spec: object, path: str, words: str) -> None:
    """What is wrong with a parameter is said at its field path."""
    with pytest.raises(errors.InvalidError) as caught:
        space_of(spec)
    assert [p.path for p in caught.value.problems] == [f"spec.parameters{path}"]
    assert words in caught.value.problems[0].message


def test_every_problem_is_reported() -> None:
    """Two bad parameters and a name given twice are three problems."""
    specs = [parameter("a", "int"), parameter("a", "double", min="0", max="x"), parameter("b", "categorical")]
    with pytest.raises(errors.InvalidError) as caught:
        spaces.from_specs(specs)
    assert len(caught.value.problems) == 5


def test_codec_of_nothing_is_nothing() -> None:
    """A space without parameters has rows without columns."""
    assert codec.Codec([]).decode(np.empty((3, 0))).shape == (3, 0)


def test_permutation_is_a_bijection() -> None:
    """Every element comes exactly once, in an order that the seed decides."""
    for size in (1, 2, 3, 10, 257):
        order = permutation.Permutation(size, 3)
        assert sorted(order[i] for i in range(size)) == list(range(size))
    first = [permutation.Permutation(100, 1)[i] for i in range(100)]
    assert first != [permutation.Permutation(100, 2)[i] for i in range(100)]
    assert first != sorted(first)


def test_permutation_of_a_huge_range_is_cheap() -> None:
    """10^30 elements need no memory."""
    order = permutation.Permutation(10**30, 0)
    assert len({order[i] for i in range(1000)}) == 1000


def test_ledger_walks_to_the_last_point() -> None:
    """When all points but one are seen, that one is drawn; then the space is exhausted."""
    space = spaces.from_specs(SMALL)
    log = history.History(space)
    for index in range(7):
        log.put(history.Trial(index, space.point(space.at(index))))
    ledger = distinct.Ledger(log)
    codes = ledger.draw(np.random.default_rng(0))
    assert codes is not None
    assert codes.tolist() == space.at(7).tolist()
    ledger.take(codes)
    assert ledger.exhausted
    assert ledger.draw(np.random.default_rng(0)) is None


def test_ledger_does_not_count_points_outside_the_space() -> None:
    """Foreign trials do not use a space up."""
    space = space_of(parameter("n", "int", min="1", max="2"))
    log = history.History(space)
    for number, value in enumerate((1, 7, 8)):
        log.put(history.Trial(number, (value,)))
    assert not distinct.Ledger(log).exhausted

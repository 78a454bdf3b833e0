"""The table of 176 invalid or hostile manifests: every row, by number, with its verdict."""

import copy
from pathlib import Path
from typing import Any

import pytest

from kuttab.admission import chain, limits, yaml
from kuttab.algorithms import engine
from kuttab.algorithms.stopping import rule
from kuttab.api import experiment, kinds, meta
from kuttab.base import errors
from kuttab.rules import naming, template
from unit.admission import catalogues
from unit.admission.manifests import identity, ownership, reading, running, space, workload
from unit.admission.manifests.cases import ACT, BASE, ELSEWHERE, INERT, OK, REJ, WARN, Case, changed

ROOT = Path(__file__).parents[3]
ALL: list[Case] = [
    case for part in (identity, ownership, space, workload, running, reading) for case in part.ROWS.cases
]
HERE = [case for case in ALL if case.expect != ELSEWHERE]
SOUND = [case for case in HERE if case.expect in (OK, WARN, INERT)]


class Catalogue(catalogues.ShippedCatalogue):
    """The shipped names, judged by the real algorithms."""

    def __init__(self, engine: bool = True, kinds: list[str] | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._engine, self._kinds = engine, kinds

    def collector_kinds(self) -> list[str]:
        """Those given, else all."""
        return self._kinds if self._kinds is not None else list(super().collector_kinds())

    def check_algorithm(self, subject: experiment.Experiment) -> list[errors.Problem]:
        """What the algorithm and the early stopping themselves say."""
        if not self._engine:
            return []
        stopping = subject.spec.early_stopping
        found = rule.check(stopping, subject.spec.max_trial_count) if stopping is not None else []
        return [*engine.validate(subject), *found]


def verdict(case: Case) -> chain.Admitted:
    """Send the case through the front end and the door of admission."""
    catalogue = Catalogue(**case.catalogue)
    if case.text is not None:
        document = yaml.load(case.text(), "manifest.yaml")[0].value
    else:
        document = case.document() if case.document is not None else changed(BASE, case.delta)
    common: dict[str, Any] = {
        "catalogue": catalogue,
        "user": case.user,
        "namespace": case.namespace,
        "strict": case.strict,
    }
    if case.old is None:
        return chain.admit(document, **common)
    return chain.admit(document, old=stored(case, catalogue), operation="UPDATE", **common)


def stored(case: Case, catalogue: Catalogue) -> meta.Object:
    """The object that an update finds: created by the system, with the status it has come to."""
    assert case.old is not None
    made = (
        case.old if case.document is not None else changed(BASE, {k: v for k, v in case.old.items() if k != "status"})
    )
    old = chain.admit(dict(made), catalogue=catalogue, user=limits.SYSTEM_USER).object
    return kinds.load({**meta.dump(old), "status": case.old.get("status", {})})


def refusal(case: Case) -> list[errors.Problem]:
    """The problems of a case that is refused."""
    with pytest.raises((errors.InvalidError, errors.TooLargeError)) as caught:
        verdict(case)
    if isinstance(caught.value, errors.TooLargeError):
        return [errors.Problem("", caught.value.message)]
    return caught.value.problems


def test_every_row_is_there() -> None:
    """No row of the table is left out."""
    assert {case.row for case in ALL} == {f"{number:03}" for number in range(1, 177)}
    assert len({case.id for case in ALL}) == len(ALL)


@pytest.mark.parametrize("case", [c for c in HERE if c.expect == REJ], ids=lambda case: case.id)
def test_refused(case: Case) -> None:
    """A refused manifest names the field and the rule, twice the same, and shows nobody else's data."""
    problems = refusal(case)
    assert any(p.path == case.at and case.says in p.message for p in problems), [str(p) for p in problems]
    text = " ".join(map(str, problems))
    assert "Traceback" not in text
    assert "canary-of-other-data" not in text
    assert len(text) < 30_000
    assert refusal(case) == problems


@pytest.mark.parametrize("case", SOUND, ids=lambda case: f"{case.id}-{case.expect}")
def test_accepted(case: Case) -> None:
    """A sound manifest is accepted, with a warning only where the table wants one, and stays as it is when sent again."""
    admitted = verdict(case)
    if case.expect == WARN:
        assert any(case.says in warning for warning in admitted.warnings), admitted.warnings
    else:
        assert admitted.warnings == []
    if case.old is None:
        catalogue = Catalogue(**case.catalogue)
        again = chain.admit(admitted.object, catalogue=catalogue, user=case.user, strict=case.strict)
        assert again.object == admitted.object
        updated = chain.admit(
            admitted.object,
            old=admitted.object,
            operation="UPDATE",
            catalogue=catalogue,
            user=case.user,
            strict=case.strict,
        )
        assert updated.object == admitted.object


@pytest.mark.parametrize("case", [c for c in SOUND if c.expect == INERT], ids=lambda case: case.id)
def test_inert(case: Case) -> None:
    """What is accepted as inert reaches the program byte for byte, and changes nothing else of the workload."""
    subject = verdict(case).object
    assert isinstance(subject, experiment.Experiment)
    given = subject.spec.trial_template
    assert given is not None
    assert given.trial_spec is not None
    value = case.value or "relu"
    tree = copy.deepcopy(given.trial_spec)
    made = template.render(given, tree, {"lr": "0.02", "layers": "3", "act": value}, name="t", namespace="team")
    (container,) = made["spec"]["template"]["spec"].pop("containers")
    argv = [template.expand(word, {"KATIB_TRIAL_NAME": "t"}) for word in container["command"]]
    assert argv == ["python3", "train.py", "--lr=0.02", "--depth=3", f"--act={value}"]
    wanted = tree["spec"]["template"]["spec"]["containers"][0].get("args")
    assert container.get("args") == wanted
    assert made["spec"]["template"]["spec"] == {"restartPolicy": "Never"}


@pytest.mark.parametrize(
    "case",
    [c for c in HERE if c.expect == REJ and c.delta and c.old is None and not c.catalogue and c.namespace.labels
     and not c.namespace.terminating and any(p.startswith("spec") and c.delta[p] is not None for p in c.delta)],
    ids=lambda case: case.id,
)  # fmt: skip
def test_refused_on_update(case: Case) -> None:
    """What is refused at creation cannot be brought in by a later change."""
    catalogue = Catalogue()
    old = chain.admit(BASE, catalogue=catalogue).object
    with pytest.raises((errors.InvalidError, errors.TooLargeError)):
        chain.admit(changed(BASE, case.delta), old=old, operation="UPDATE", catalogue=catalogue)


@pytest.mark.parametrize("case", [c for c in ALL if c.expect == ELSEWHERE], ids=lambda case: case.id)
def test_rows_proven_elsewhere(case: Case) -> None:
    """A row that admission does not decide names the tests that prove it, and they exist; one that needs a cluster says so."""
    for proof in case.proof:
        path, _, name = proof.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), proof
    if not case.proof:
        assert case.says.startswith("needs a cluster")
        pytest.skip(f"row {case.row} ({case.title}): {case.says}")


def test_row_006_children_of_like_named_experiments_differ() -> None:
    """``foo`` with ``multivariate-tpe`` and ``foo-multivariate`` with ``tpe`` are both sound and share no child's name (K19)."""
    made = []
    for number, (name, algorithm) in enumerate((("foo", "multivariate-tpe"), ("foo-multivariate", "tpe"))):
        delta = {"metadata.name": name, "spec.algorithm": {"algorithmName": algorithm}}
        subject = verdict(Case("006", name, OK, delta)).object
        assert isinstance(subject, experiment.Experiment)
        made.append(meta.evolve(subject, metadata=meta.evolve(subject.metadata, uid=f"uid-{number}")))
    one, two = ({subject.name, *(naming.trial_name(subject, slot) for slot in range(100))} for subject in made)
    assert len(one) == len(two) == 101
    assert not one & two
    again = meta.evolve(made[0], metadata=meta.evolve(made[0].metadata, uid="uid-2"))
    assert naming.trial_name(again, 0) != naming.trial_name(made[0], 0)


def test_row_011_a_status_given_at_creation_is_dropped() -> None:
    """Nobody creates an experiment that has already succeeded, or with a best trial that was never run."""
    fake = {
        "trials": 3,
        "conditions": [{"type": "Succeeded", "status": "True"}],
        "currentOptimalTrial": {"bestTrialName": "x", "observation": {}},
    }
    subject = verdict(Case("011", "", OK, {"status": fake})).object
    assert isinstance(subject, experiment.Experiment)
    assert subject.status == experiment.ExperimentStatus()


def test_row_167_the_collector_is_stdout_by_default() -> None:
    """Without a collector the program's output is read; the warning-free verdict of the table has this outcome."""
    subject = verdict(Case("167", "", OK)).object
    assert isinstance(subject, experiment.Experiment)
    spec = subject.spec.metrics_collector_spec
    assert spec is not None
    assert spec.collector is not None
    assert spec.collector.kind == "StdOut"


def test_row_170_reading_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that would run a program in an unsafe loader leaves no trace."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.InvalidError):
        yaml.load('x: !!python/object/apply:os.system ["touch canary"]\n', "manifest.yaml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "wanted"),
    [("0o17", 15), ("010", 8), ("1e3", 1000), ("0x10", 16), ("'12'", "12"), ("12:30:45", "12:30:45"), ("no", False)],
)
def test_row_172_words_are_read_as_kubectl_reads_them(word: str, wanted: object) -> None:
    """The same JSON as from kubectl, in value and in type."""
    found = yaml.load(f"a: {word}\n", "manifest.yaml")[0].value["a"]
    assert (found, type(found)) == (wanted, type(wanted))


def test_base_is_sound_and_unshared() -> None:
    """The manifest that every row starts from is accepted without a word."""
    assert verdict(Case("", "", OK)).warnings == []
    assert changed(BASE, {f"{ACT}.list": ["x"]}) != BASE


def test_template_of_another_namespace_is_not_even_looked_up() -> None:
    """The refusal of a foreign ConfigMap is decided without reading it."""
    case = next(c for c in ALL if c.row == "109" and c.expect == REJ)
    catalogue = Catalogue(**case.catalogue)
    with pytest.raises(errors.InvalidError):
        chain.admit(changed(BASE, case.delta), catalogue=catalogue)
    assert catalogue.looked_up == []

"""Statuses of suggestions and trials, names and labels of children."""

from __future__ import annotations

import pytest

from kuttab.api import conditions, keys, meta
from kuttab.api.experiment import Experiment, Observation
from kuttab.api.space import ParameterAssignment
from kuttab.api.suggestion import SuggestionStatus, TrialAssignment
from kuttab.api.trial import Trial, TrialStatus
from kuttab.base import errors
from kuttab.rules import naming, suggestion_state, trial_state, trial_status, workload
from kuttab.rules.workload import Outcome, Reading

NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:01:00Z"
SUBJECT = Experiment.load(
    {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "e", "uid": "u", "namespace": "d", "labels": {"team": "a"}},
    }
)


def assignment(slot: int, **more: object) -> TrialAssignment:
    """An assignment of a slot."""
    return TrialAssignment(
        name=f"e-{slot}", slot=slot, parameter_assignments=[ParameterAssignment(name="x", value="1")], **more
    )  # type: ignore[arg-type]


def running_trial() -> TrialStatus:
    """A trial's status while it runs."""
    return trial_status.running(trial_status.created(TrialStatus(), NOW), NOW)


def test_a_new_trial_has_a_start_and_a_null_completion_time() -> None:
    """Created comes with the start time and, as in Katib, a completion time of JSON null."""
    document = meta.dump(trial_status.created(TrialStatus(), NOW))
    assert document["startTime"] == NOW
    assert document["completionTime"] is None
    assert trial_status.created(trial_status.created(TrialStatus(), NOW), LATER).start_time == NOW


def test_success_turns_running_false_and_names_the_jobs_reason() -> None:
    """The end comes with the observation in one step and carries the workload's own reason and message."""
    seen = Observation(metrics=[])
    status = trial_status.succeeded(running_trial(), seen, Reading(Outcome.SUCCEEDED, "Done", "well"), LATER)
    assert [(c.type, c.status) for c in status.conditions or ()] == [
        ("Created", "True"), ("Running", "False"), ("Succeeded", "True"),
    ]  # fmt: skip
    last = (status.conditions or [])[-1]
    assert last.reason == "TrialSucceeded. Job reason: Done"
    assert last.message.endswith(". Job message: well")
    assert status.observation is seen
    assert status.completion_time == LATER


def test_early_stopped_keeps_running_true_and_counts_as_finished() -> None:
    """As Katib: Running stays True, EarlyStopped is last, and the trial is finished, not failed."""
    status = trial_status.early_stopped(running_trial(), Observation(metrics=[]), LATER)
    assert conditions.is_true(status.conditions, keys.RUNNING)
    assert trial_state.state(status.conditions) == "EarlyStopped"


def test_queued_shows_why_and_goes_when_the_workload_exists() -> None:
    """Waiting for resources is a condition with the reason; a new reason replaces it; running removes it."""
    status = trial_status.queued(trial_status.created(TrialStatus(), NOW), "QuotaWait", "0 of 4 GPUs free", NOW)
    assert trial_status.queued(status, "QuotaWait", "0 of 4 GPUs free", LATER) is status
    again = trial_status.queued(status, "QuotaWait", "1 of 4 GPUs free", LATER)
    assert (again.conditions or [])[-1].message == "1 of 4 GPUs free"
    assert conditions.find(trial_status.running(again, LATER).conditions, keys.QUEUED) is None


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("OOMKilled", "OutOfMemory"),
        ("DeadlineExceeded", "DeadlineExceeded"),
        ("NodeLost", "Infrastructure"),
        ("Error", "UserError"),
    ],
)
def test_failures_are_classed_by_the_workloads_reason(reason: str, word: str) -> None:
    """Out of memory, out of time and a broken machine are told apart from the user's own error."""
    status = trial_status.failed(running_trial(), Reading(Outcome.FAILED, reason), LATER)
    assert trial_state.failure_class(status.conditions) == word


@pytest.mark.parametrize("text", ["", "-1", "x", "１", "1.5", "12345678901"])
def test_a_slot_is_a_plain_number_or_none(text: str) -> None:
    """Anything but a plain decimal number in the annotation means: no slot."""
    subject = Trial.load(
        {"apiVersion": "v", "kind": "Trial", "metadata": {"name": "t", "annotations": {keys.ANNOTATION_SLOT: text}}}
    )
    assert trial_state.slot(subject) == -1


def test_failure_is_looked_at_before_success() -> None:
    """A workload that says both has failed (row 137)."""
    subject = Trial.load({"apiVersion": "v", "kind": "Trial", "metadata": {"name": "t"}})
    both = [{"type": "Complete", "status": "True"}, {"type": "Failed", "status": "True", "reason": "R", "message": "m"}]
    reading = workload.read(subject, {"kind": "Job", "status": {"conditions": both}})
    assert reading == Reading(Outcome.FAILED, "R", "m")
    assert workload.read(subject, {"kind": "Job", "status": {}}).outcome is Outcome.ACTIVE


def test_the_journal_appends_and_trims_only_what_has_its_trial() -> None:
    """Entries without a trial always stay; the count counts all; kept settings are merged."""
    status = SuggestionStatus()
    for slot in range(suggestion_state.JOURNAL_CAP + 20):
        status = suggestion_state.answered(status, [assignment(slot)], {"s": str(slot)}, False, keep_from=5)
    slots = [item.slot for item in status.suggestions or ()]
    assert slots == list(range(5, suggestion_state.JOURNAL_CAP + 20))
    assert status.suggestion_count == suggestion_state.JOURNAL_CAP + 20
    assert [(s.name, s.value) for s in status.algorithm_settings or ()] == [
        ("s", str(suggestion_state.JOURNAL_CAP + 19))
    ]


def test_answers_get_slots_and_names_that_depend_on_nothing_else() -> None:
    """The same slot of the same experiment has the same name every time; a service's own name is kept."""
    first = suggestion_state.named(SUBJECT, [TrialAssignment(), TrialAssignment(name="own")], 7)
    again = suggestion_state.named(SUBJECT, [TrialAssignment(), TrialAssignment(name="own")], 7)
    assert first == again
    assert [item.slot for item in first] == [7, 8]
    assert first[0].name == naming.trial_name(SUBJECT, 7)
    assert first[1].name == "own"
    assert "labels" not in meta.dump(first[0])


@pytest.mark.parametrize(
    "answer",
    [
        TrialAssignment(name="../x"),
        TrialAssignment(name="x" * 64),
        TrialAssignment(name="Ab"),
        TrialAssignment(labels={keys.LABEL_EXPERIMENT: "other"}),
        TrialAssignment(labels={"kuttab.org/slot": "1"}),
        TrialAssignment(labels={"a": "x" * 64}),
        TrialAssignment(labels={"a b": "c"}),
    ],
)
def test_a_name_or_label_that_may_not_be_makes_the_whole_answer_broken(answer: TrialAssignment) -> None:
    """What a service sends never reaches an object unchecked (C14, K12)."""
    with pytest.raises(errors.BrokenAnswerError):
        suggestion_state.named(SUBJECT, [TrialAssignment(), answer], 0)


def test_nobody_overwrites_the_experiment_label() -> None:
    """A trial carries its experiment's labels and ours, whatever the assignment wants (K12)."""
    labels = naming.trial_labels(SUBJECT, {keys.LABEL_EXPERIMENT: "other", "team": "b", "extra": "1"})
    assert labels == {"team": "a", "extra": "1", keys.LABEL_EXPERIMENT: "e"}


def test_ending_a_suggestion_follows_the_policy() -> None:
    """LongRunning keeps the algorithm; the other policies let it go, with Katib's reasons."""
    status = suggestion_state.running(suggestion_state.created(SuggestionStatus(), NOW), NOW)
    assert suggestion_state.ended(status, "LongRunning", NOW) is status
    ended = suggestion_state.ended(status, "Never", LATER)
    assert [(c.type, c.status, c.reason) for c in ended.conditions or ()][-3:] == [
        ("Running", "False", "Suggestion is succeeded"),
        ("DeploymentReady", "False", "Suggestion is succeeded"),
        ("Succeeded", "True", "Experiment is succeeded"),
    ]

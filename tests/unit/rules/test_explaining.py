"""What people are told about an experiment or a trial: the state, the cause, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from kuttab.api import experiment, kinds, meta, suggestion, trial
from kuttab.rules import explaining
from kuttab.testing import builders

CONDITION = {"lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def condition(type_: str, status: str = "True", reason: str = "R", message: str = "a message") -> dict[str, Any]:
    """One condition."""
    return {"type": type_, "status": status, "reason": reason, "message": message, **CONDITION}


def subject(*conditions: dict[str, Any], status: dict[str, Any] | None = None, **spec: Any) -> experiment.Experiment:
    """An experiment with a status."""
    made = builders.experiment("e", **spec)
    return experiment.Experiment.load({**meta.dump(made), "status": {"conditions": list(conditions), **(status or {})}})


def asked(*conditions: dict[str, Any], requests: int = 2, given: int = 2) -> suggestion.Suggestion:
    """Its suggestion."""
    found = kinds.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Suggestion",
            "metadata": {"name": "e", "namespace": "default"},
            "spec": {"requests": requests},
            "status": {"suggestionCount": given, "conditions": list(conditions)},
        }
    )
    assert isinstance(found, suggestion.Suggestion)
    return found


def run(name: str, *conditions: dict[str, Any], **status: Any) -> trial.Trial:
    """A trial with a status."""
    made = builders.trial(name, of=builders.experiment("e"))
    return trial.Trial.load({**meta.dump(made), "status": {"conditions": list(conditions), **status}})


def story(
    of: experiment.Experiment, current: suggestion.Suggestion | None, *trials: trial.Trial, acting: bool = True
) -> str:
    """The whole story as text."""
    return "\n".join(explaining.experiment_story(of, current, trials, acting=acting))


RUNNING = condition("Running")


@pytest.mark.parametrize(
    ("of", "current", "acting", "told"),
    [
        (subject(condition("Succeeded", reason="GoalReached", message="It is good")), None, False, "has ended (GoalReached): It is good."),
        (subject(RUNNING), asked(), False, "nothing runs it now. Go on with: kuttab resume e"),
        (subject(RUNNING, suspend=True), asked(), True, "is paused (spec.suspend). Go on with: kuttab resume e"),
        (subject(RUNNING), None, True, "has no Suggestion yet"),
        (subject(RUNNING), asked(condition("Failed", message="bad setting")), True, "Its Suggestion has failed: bad setting"),
        (
            subject(RUNNING),
            asked(condition("DeploymentReady", "False", message="connection refused")),
            True,
            "waits for the algorithm service: connection refused",
        ),
        (subject(RUNNING), asked(requests=4), True, "waits for the algorithm: 2 of 4 assignments are given"),
    ],
)  # fmt: skip
def test_the_cause_is_named(
    of: experiment.Experiment, current: suggestion.Suggestion | None, acting: bool, told: str
) -> None:
    """Every state in which an experiment can stand has its sentence, with what to do where there is something to do."""
    assert told in story(of, current, acting=acting)


def test_a_running_experiment_tells_of_its_active_trials_only() -> None:
    """Counts come first, then what each active trial does; the algorithm is not blamed while a trial runs."""
    of = subject(RUNNING, status={"trials": 3, "trialsSucceeded": 1, "trialsRunning": 1, "trialsPending": 1})
    done = run("done", condition("Running", "False"), condition("Succeeded"))
    runs = run("runs", condition("Running", message="Trial is running"))
    waits = run("waits", condition("Queued", reason="QuotaWait", message="0 of 4 GPUs free"))
    text = story(of, asked(requests=9), done, runs, waits, run("new"))
    assert "3 (1 succeeded, 1 running, 1 pending)" in text
    assert "Trial runs: Running. Trial is running." in text
    assert "Trial waits waits for resources (QuotaWait): 0 of 4 GPUs free" in text
    assert "Trial new is new" in text
    assert "done" not in text
    assert "waits for the algorithm" not in text


def test_a_suspended_workload_is_no_wait_for_resources() -> None:
    """Somebody suspended the Job: that is said, not that resources lack."""
    (line,) = explaining.trial_story(run("t", condition("Queued", reason="WorkloadSuspended", message="spec.suspend")))
    assert line == "Trial t is suspended (WorkloadSuspended): spec.suspend"


def test_failures_tell_where_to_look() -> None:
    """A failed trial points at its log; one without metrics says what line was expected; only the last few are told."""
    failed = [run(f"f{number}", condition("Failed", message="exit code 1")) for number in range(7)]
    silent = run("s", condition("MetricsUnavailable", message="nothing found"))
    text = story(subject(condition("Failed")), None, *failed, silent)
    assert "8 trials failed; the last 5:" in text
    assert "f2:" not in text
    assert "Trial f6: Failed. exit code 1.\n  See what it printed: kuttab logs f6" in text
    assert "must print a line such as loss=0.5; see what it printed: kuttab logs s" in text


def test_a_description_shows_what_was_asked_and_what_came_of_it() -> None:
    """Objective with goal, algorithm with settings, budget, space and best trial of an experiment."""
    of = subject(
        RUNNING,
        status={
            "trials": 2,
            "trialsFailed": 2,
            "currentOptimalTrial": {
                "bestTrialName": "e-1",
                "parameterAssignments": [{"name": "lr", "value": "0.02"}],
                "observation": {"metrics": [{"name": "loss", "latest": "1"}]},
            },
        },
        objective={"type": "minimize", "objectiveMetricName": "loss", "goal": 0.5},
        algorithm={"algorithmName": "random", "algorithmSettings": [{"name": "random_state", "value": "1"}]},
        maxTrialCount=None,
        parameters=[
            {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1", "step": "0.5"}},
            {"name": "act", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
        ],
    )
    found = dict(explaining.facts(of))
    assert found["Objective"] == "minimize loss, goal 0.5"
    assert found["Algorithm"] == "random random_state=1"
    assert found["Budget"] == "unlimited trials, 2 at a time"
    assert found["Trials"] == "2 (2 failed)"
    assert found["  lr"] == "double 0 .. 1, step 0.5"
    assert found["  act"] == "categorical a, b"
    assert found["Best trial"] == "e-1 lr=0.02"
    bare = dict(explaining.facts(builders.experiment("e")))
    assert (bare["Budget"], bare["Trials"]) == ("4 trials, 2 at a time", "0")
    assert "Best trial" not in bare


def test_a_trials_description_shows_values_metrics_and_what_it_waits_for() -> None:
    """Parameters and every aggregate of each metric; a wait stands beside the state."""
    seen = {"metrics": [{"name": "loss", "latest": "2", "min": "1", "max": "3"}]}
    found = dict(
        explaining.facts(run("t", condition("Queued", reason="QuotaWait", message="no GPU"), observation=seen))
    )
    assert found["Experiment"] == "e"
    assert found["State"] == "Pending, Queued (QuotaWait): no GPU"
    assert found["  loss"] == "latest 2, min 1, max 3"
    assert dict(explaining.facts(run("t", RUNNING)))["State"] == "Running"

"""Why something waits, why it failed, why it is what it is: objects in, sentences out."""

from __future__ import annotations

from collections.abc import Sequence

from kuttab.api import conditions, experiment, keys, suggestion, trial
from kuttab.api.history import TrialState
from kuttab.rules import budget, completion, trial_state

SHOWN = 5
"""Failed trials told one by one."""


def facts(subject: experiment.Experiment | trial.Trial) -> list[tuple[str, str]]:
    """The head of a description, as (label, text)."""
    lines = [
        ("Name", subject.name),
        ("Namespace", subject.namespace),
        ("Kind", subject.kind),
        ("Created", subject.metadata.creation_timestamp or ""),
    ]
    return lines + (_experiment_facts(subject) if isinstance(subject, experiment.Experiment) else _trial_facts(subject))


def _experiment_facts(subject: experiment.Experiment) -> list[tuple[str, str]]:
    spec, status = subject.spec, subject.status
    objective = spec.objective or experiment.ObjectiveSpec()
    algorithm = spec.algorithm or experiment.AlgorithmSpec()
    goal = "" if objective.goal is None else f", goal {objective.goal:g}"
    settings = " ".join(f"{item.name}={item.value}" for item in algorithm.algorithm_settings or ())
    limit = spec.max_trial_count
    lines = [
        ("Objective", f"{objective.type} {objective.objective_metric_name}{goal}"),
        ("Algorithm", f"{algorithm.algorithm_name} {settings}".rstrip()),
        ("Budget", f"{limit if limit is not None else 'unlimited'} trials, {budget.parallel(subject)} at a time"),
        ("Trials", _counts(status)),
    ]
    for parameter in spec.parameters or ():
        space = parameter.feasible_space
        values = ", ".join(space.choices or ()) or f"{space.min} .. {space.max}"
        more = "".join(f", {text}" for text in (space.step and f"step {space.step}", space.distribution) if text)
        lines.append((f"  {parameter.name}", f"{parameter.parameter_type} {values}{more}"))
    optimal = status.current_optimal_trial
    if optimal is not None and optimal.best_trial_name:
        values = " ".join(f"{item.name}={item.value}" for item in optimal.parameter_assignments or ())
        lines.append(("Best trial", f"{optimal.best_trial_name} {values}"))
    return lines


def _trial_facts(subject: trial.Trial) -> list[tuple[str, str]]:
    lines = [
        ("Experiment", subject.metadata.label(keys.LABEL_EXPERIMENT)),
        ("State", _state(subject)),
    ]
    lines += [(f"  {item.name}", item.value) for item in subject.spec.parameter_assignments or ()]
    if subject.status.observation is not None:
        lines += [
            (f"  {item.name}", f"latest {item.latest}, min {item.min}, max {item.max}")
            for item in subject.status.observation.metrics or ()
        ]
    return lines


def _state(subject: trial.Trial) -> str:
    state = trial_state.state(subject.status.conditions)
    waiting = conditions.find(subject.status.conditions, keys.QUEUED)
    return state if waiting is None else f"{state}, {waiting.type} ({waiting.reason}): {waiting.message}"


def _counts(status: experiment.ExperimentStatus) -> str:
    named = (
        ("succeeded", status.trials_succeeded),
        ("early-stopped", status.trials_early_stopped),
        ("failed", status.trials_failed),
        ("without metrics", status.trial_metrics_unavailable),
        ("killed", status.trials_killed),
        ("running", status.trials_running),
        ("pending", status.trials_pending),
    )
    parts = ", ".join(f"{count} {name}" for name, count in named if count)
    return f"{status.trials} ({parts})" if parts else str(status.trials)


def experiment_story(
    subject: experiment.Experiment,
    current: suggestion.Suggestion | None,
    trials: Sequence[trial.Trial],
    *,
    acting: bool,
) -> list[str]:
    """What an experiment is doing and why, down to the object that is the cause. ``acting``: a runtime serves it now."""
    lines: list[str] = []
    if completion.completed(subject):
        last = (subject.status.conditions or [])[-1]
        lines.append(f"Experiment {subject.name} has ended ({last.reason}): {last.message}.")
    elif not acting:
        lines.append(
            f"Experiment {subject.name} is not over, but nothing runs it now. Go on with: kuttab resume {subject.name}"
        )
    elif subject.spec.suspend:
        lines.append(f"Experiment {subject.name} is paused (spec.suspend). Go on with: kuttab resume {subject.name}")
    else:
        lines += _waiting(subject, current, trials)
    lines += _failures(trials)
    return lines


def _waiting(
    subject: experiment.Experiment, current: suggestion.Suggestion | None, trials: Sequence[trial.Trial]
) -> list[str]:
    if current is None:
        return [f"Experiment {subject.name} has no Suggestion yet: the controller has not reached it."]
    items = current.status.conditions
    if conditions.is_true(items, keys.FAILED):
        failed = conditions.find(items, keys.FAILED)
        return [f"Its Suggestion has failed: {failed.message if failed else ''}"]
    ready = conditions.find(items, keys.DEPLOYMENT_READY)
    if ready is not None and ready.status != conditions.TRUE:
        return [f"It waits for the algorithm service: {ready.message}"]
    active = [item for item in trials if not trial_state.finished(item)]
    lines = [f"Experiment {subject.name} is running: {_counts(subject.status)}."]
    lines += [line for item in active for line in trial_story(item)]
    if not active and current.spec.requests > current.status.suggestion_count:
        lines.append(
            f"It waits for the algorithm: {current.status.suggestion_count} of {current.spec.requests} assignments are given; "
            "the algorithm needs results of earlier trials or is thinking."
        )
    return lines


def _failures(trials: Sequence[trial.Trial]) -> list[str]:
    bad = (TrialState.FAILED, TrialState.METRICS_UNAVAILABLE)
    failed = [item for item in trials if trial_state.state(item.status.conditions) in bad]
    lines = [line for item in failed[-SHOWN:] for line in trial_story(item)]
    if len(failed) > SHOWN:
        lines.insert(0, f"{len(failed)} trials failed; the last {SHOWN}:")
    return lines


def trial_story(subject: trial.Trial) -> list[str]:
    """What a trial is doing or why it ended, and what to do about it."""
    state = trial_state.state(subject.status.conditions)
    if not subject.status.conditions:
        return [f"Trial {subject.name} is new: its workload has not been made yet."]
    last = subject.status.conditions[-1]
    waiting = conditions.find(subject.status.conditions, keys.QUEUED)
    if waiting is not None and waiting.status == conditions.TRUE:
        what = "is suspended" if waiting.reason == keys.WORKLOAD_SUSPENDED else "waits for resources"
        return [f"Trial {subject.name} {what} ({waiting.reason}): {waiting.message}"]
    lines = [f"Trial {subject.name}: {state}. {last.message}."]
    if state is TrialState.METRICS_UNAVAILABLE:
        objective = (
            subject.spec.objective.objective_metric_name if subject.spec.objective is not None else "the objective"
        )
        lines.append(
            f"  The program must print a line such as {objective}=0.5; see what it printed: kuttab logs {subject.name}"
        )
    if state is TrialState.FAILED:
        lines.append(f"  See what it printed: kuttab logs {subject.name}")
    return lines

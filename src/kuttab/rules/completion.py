"""When an experiment is over, and when a raised budget opens it again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kuttab.api import conditions, experiment, history, keys, suggestion
from kuttab.rules import budget
from kuttab.rules import ledger as ledgers


@dataclass(frozen=True, slots=True)
class End:
    """The end of an experiment: condition type, reason and message."""

    type: str
    reason: str
    message: str


def completed(subject: experiment.Experiment) -> bool:
    """Whether the experiment has ended."""
    items = subject.status.conditions
    return conditions.is_true(items, keys.SUCCEEDED) or conditions.is_true(items, keys.FAILED)


def goal_reached(subject: experiment.Experiment, ledger: ledgers.Ledger) -> bool:
    """Whether the best trial is at the goal or beyond it; an absent goal is never reached, 0 is a goal like any other."""
    objective, best = subject.spec.objective, ledger.best
    if objective is None or objective.goal is None or best is None or best.objective is None:
        return False
    if not math.isfinite(best.objective):
        return False
    if objective.type == experiment.ObjectiveType.MAXIMIZE:
        return best.objective >= objective.goal
    return best.objective <= objective.goal


def judge(subject: experiment.Experiment, current: suggestion.Suggestion | None, ledger: ledgers.Ledger) -> End | None:
    """The first end rule that holds: goal, failures, the user's stop, the budget, the algorithm's end, a failed suggestion."""
    done = ledger.total - ledger.active
    if goal_reached(subject, ledger):
        best = ledger.best
        assert best is not None
        text = f"Experiment has reached its goal with trial {best.name}"
        return End(keys.SUCCEEDED, keys.EXPERIMENT_GOAL_REACHED, text)
    failed, most = budget.failures(ledger), subject.spec.max_failed_trial_count
    if most is not None and failed and failed >= most:
        text = f"Experiment has failed because {failed} trials failed (maxFailedTrialCount is {most})"
        return End(keys.FAILED, keys.EXPERIMENT_FAILED, text + _last_failure(ledger))
    if subject.spec.stop:
        return End(keys.SUCCEEDED, keys.EXPERIMENT_STOPPED, f"Experiment was stopped by its user after {done} trials")
    if budget.spent(subject, ledger):
        text = f"Experiment has run its {subject.spec.max_trial_count} trials"
        return End(keys.SUCCEEDED, keys.EXPERIMENT_MAX_TRIALS_REACHED, text)
    slots = budget.consumed(subject, ledger)
    if ledger.active == 0 and budget.exhausted(current, slots):
        text = f"The search space holds no more points: every one of {slots} was tried"
        return End(keys.SUCCEEDED, keys.EXPERIMENT_SUGGESTION_END_REACHED, text)
    problem = conditions.find(current.status.conditions if current is not None else None, keys.FAILED)
    if problem is not None and problem.status == conditions.TRUE:
        return End(keys.FAILED, keys.EXPERIMENT_FAILED, f"Suggestion has failed: {problem.message}")
    return None


def restartable(subject: experiment.Experiment) -> bool:
    """Whether a completed experiment may go on with a larger budget."""
    end = conditions.find(subject.status.conditions, keys.SUCCEEDED)
    return (
        end is not None
        and end.status == conditions.TRUE
        and end.reason == keys.EXPERIMENT_MAX_TRIALS_REACHED
        and subject.spec.resume_policy in (experiment.ResumePolicy.LONG_RUNNING, experiment.ResumePolicy.FROM_VOLUME)
    )


def restarts(subject: experiment.Experiment, ledger: ledgers.Ledger) -> bool:
    """Whether its budget was raised (or the limit taken away) since it ended: once per raise, as the end closes it again."""
    if not restartable(subject):
        return False
    limit = subject.spec.max_trial_count
    return limit is None or limit > budget.consumed(subject, ledger)


def _last_failure(ledger: ledgers.Ledger) -> str:
    names = ledger.newest(history.TrialState.FAILED, 1) or ledger.newest(history.TrialState.METRICS_UNAVAILABLE, 1)
    return f"; the last one is {names[0]}" if names else ""

"""The suggestion's status after a pass, and the journal of answers in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kuttab.api import conditions, experiment, keys, meta, suggestion
from kuttab.api.conditions import FALSE, TRUE
from kuttab.api.suggestion import SuggestionStatus
from kuttab.base import errors
from kuttab.rules import naming

JOURNAL_CAP = 10
"""Answers kept in the status besides those that wait for their trial; ``suggestionCount`` counts all."""


def created(status: SuggestionStatus, now: str) -> SuggestionStatus:
    """With Created and the start time."""
    if conditions.is_true(status.conditions, keys.CREATED):
        return status
    items = conditions.put(status.conditions, keys.CREATED, TRUE, keys.SUGGESTION_CREATED, "Suggestion is created", now)
    return meta.evolve(status, conditions=items, start_time=now)


def running(status: SuggestionStatus, now: str) -> SuggestionStatus:
    """The algorithm is there and has taken the settings."""
    items = conditions.drop(status.conditions, keys.SUCCEEDED)
    items = conditions.put(
        items, keys.DEPLOYMENT_READY, TRUE, keys.SUGGESTION_DEPLOYMENT_READY, "The algorithm is ready", now
    )
    items = conditions.put(items, keys.RUNNING, TRUE, keys.SUGGESTION_RUNNING, "Suggestion is running", now)
    return meta.evolve(status, conditions=items)


def away(status: SuggestionStatus, message: str, now: str) -> SuggestionStatus:
    """The algorithm cannot be reached for now: a delay, never a failure."""
    found = conditions.put(
        status.conditions, keys.DEPLOYMENT_READY, FALSE, keys.SUGGESTION_DEPLOYMENT_NOT_READY, message, now
    )
    return meta.evolve(status, conditions=found)


def failed(status: SuggestionStatus, message: str, now: str) -> SuggestionStatus:
    """The algorithm refuses for good."""
    items = status.conditions
    run = conditions.find(items, keys.RUNNING)
    if run is not None:
        items = conditions.put(items, keys.RUNNING, FALSE, run.reason, run.message, now)
    text = message if message.startswith("Validation failed") else f"Validation failed: {message}"
    items = conditions.put(items, keys.FAILED, TRUE, keys.SUGGESTION_FAILED, text, now)
    return meta.evolve(status, conditions=items)


def ended(status: SuggestionStatus, policy: str, now: str) -> SuggestionStatus:
    """The experiment is over: nothing changes under LongRunning, else the algorithm may go."""
    if policy == experiment.ResumePolicy.LONG_RUNNING or conditions.is_true(status.conditions, keys.FAILED):
        return status
    if conditions.is_true(status.conditions, keys.SUCCEEDED):
        return status
    items = status.conditions
    for type_ in (keys.RUNNING, keys.DEPLOYMENT_READY):
        if conditions.find(items, type_) is not None:
            items = conditions.put(items, type_, FALSE, keys.SUGGESTION_SUCCEEDED, "Suggestion is succeeded", now)
    items = conditions.put(
        items, keys.SUCCEEDED, TRUE, keys.SUGGESTION_EXPERIMENT_SUCCEEDED, "Suggestion is succeeded", now
    )
    return meta.evolve(status, conditions=items)


def named(
    subject: experiment.Experiment, answers: Sequence[suggestion.TrialAssignment], first_slot: int
) -> list[suggestion.TrialAssignment]:
    """The answers with slot numbers and names; a name or label that may not be used makes the whole answer broken."""
    found = []
    for slot, answer in enumerate(answers, first_slot):
        name = answer.name or naming.trial_name(subject, slot)
        if not naming.is_dns_label(name):
            raise errors.BrokenAnswerError(f"trial name {name[:80]!r} is no DNS label of at most 63 characters")
        for key, value in (answer.labels or {}).items():
            problem = naming.label_problem(key, value)
            if problem:
                raise errors.BrokenAnswerError(problem)
        found.append(meta.evolve(answer, name=name, slot=slot, labels=answer.labels))
    return found


def answered(
    status: SuggestionStatus,
    answers: Sequence[suggestion.TrialAssignment],
    settings: Mapping[str, str],
    exhausted: bool,
    *,
    keep_from: int,
) -> SuggestionStatus:
    """The journal with the answers appended. Entries from slot ``keep_from`` on have no trial yet and always stay."""
    entries = [*(status.suggestions or ()), *answers]
    surplus = len(entries) - JOURNAL_CAP
    if surplus > 0:
        entries = [entry for i, entry in enumerate(entries) if i >= surplus or entry.slot >= keep_from]
    kept = {item.name: item.value for item in status.algorithm_settings or ()}
    kept.update(settings)
    return meta.evolve(
        status,
        suggestions=entries,
        suggestion_count=(status.suggestion_count + len(answers)) or None,
        exhausted=True if exhausted else None,
        algorithm_settings=[experiment.Setting(name=name, value=value) for name, value in kept.items()],
    )

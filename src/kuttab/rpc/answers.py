"""Judges what a suggestion service answers, before any of it is used: an answer is taken whole or not at all.

A service is a stranger: its numbers, names and labels become processes and objects. Lenient only where Katib's own services are known
to leave the space: normal distributions have no bounds, a step may move a value one step beyond, and the resource of Hyperband
has its own range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

from kuttab.api import experiment, space, suggestion
from kuttab.base import errors
from kuttab.rpc import convert
from kuttab.rpc.messages import Message
from kuttab.rules import earlystop, naming

MAX_BYTES: Final = 4 * 1024 * 1024
"""Size of an answer: what gRPC itself takes by default."""
MAX_VALUE_BYTES: Final = 100_000
MAX_LABELS: Final = 32
MAX_SETTINGS: Final = 200
MAX_SETTINGS_BYTES: Final = 256 * 1024
MAX_RULES: Final = 32

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,30}")
_UNBOUNDED: Final = frozenset({"normal", "logNormal"})


def assignments(
    reply: Message, subject: experiment.Experiment, count: int, taken: Callable[[str], bool]
) -> list[suggestion.TrialAssignment]:
    """The assignments of a reply; BrokenAnswerError says what is wrong with the first bad one.

    ``taken`` tells whether a trial of that name exists already.
    """
    given = reply.parameter_assignments
    if len(given) > count:
        raise _broken(f"gave {len(given)} assignments for {count}")
    checks = {parameter.name: parameter for parameter in subject.spec.parameters or ()}
    free = _free_names(subject)
    names: set[str] = set()
    found = []
    for number, item in enumerate(given):
        where = f"assignment {number}"
        values = _values(item, checks, free, where)
        _check_name(item.trial_name, names, taken, where)
        labels = dict(item.labels)
        if len(labels) > MAX_LABELS:
            raise _broken(f"{where} has {len(labels)} labels; at most {MAX_LABELS} are taken")
        for key, value in labels.items():
            problem = naming.label_problem(key, value)
            if problem:
                raise _broken(f"{where}: {problem}")
        found.append(
            suggestion.TrialAssignment(name=item.trial_name, parameter_assignments=values, labels=labels or None)
        )
    return found


def settings(reply: Message) -> dict[str, str]:
    """The state that the service wants back; BrokenAnswerError when it is not fit to be kept."""
    given = reply.algorithm.algorithm_settings
    if len(given) > MAX_SETTINGS:
        raise _broken(f"has {len(given)} algorithm settings; at most {MAX_SETTINGS} are kept")
    found: dict[str, str] = {}
    size = 0
    for item in given:
        if not item.name or item.name in found:
            raise _broken(f"has an algorithm setting without a name or a second {shown(item.name)}")
        _check_text(item.value, f"algorithm setting {shown(item.name)}")
        size += len(item.name) + len(item.value)
        found[item.name] = item.value
    if size > MAX_SETTINGS_BYTES:
        raise _broken(f"has {size} characters of algorithm settings; at most {MAX_SETTINGS_BYTES} are kept")
    return found


def rules(reply: Message) -> list[suggestion.EarlyStoppingRule]:
    """The early-stopping rules of a reply; BrokenAnswerError when one cannot be applied."""
    if len(reply.early_stopping_rules) > MAX_RULES:
        raise _broken(f"has {len(reply.early_stopping_rules)} early-stopping rules; at most {MAX_RULES} are taken")
    found = [convert.rule_of(item) for item in reply.early_stopping_rules]
    problems = earlystop.check(found)
    if problems:
        raise _broken(f"has {problems[0]}")
    return found


def shown(text: str, limit: int = 80) -> str:
    """A stranger's text for a message: quoted, on one line, short."""
    return ascii(text if len(text) <= limit else text[:limit] + "...")


def _broken(what: str) -> errors.BrokenAnswerError:
    return errors.BrokenAnswerError(f"the answer {what}; nothing of it was used")


def _free_names(subject: experiment.Experiment) -> frozenset[str]:
    """Parameters whose range the algorithm does not keep: Hyperband's resource."""
    algorithm = subject.spec.algorithm
    given = algorithm.algorithm_settings if algorithm is not None else None
    return frozenset(setting.value for setting in given or () if setting.name == "resource_name")


def _values(
    item: Message, checks: Mapping[str, space.ParameterSpec], free: frozenset[str], where: str
) -> list[space.ParameterAssignment]:
    found: list[space.ParameterAssignment] = []
    names = set()
    for assignment in item.assignments:
        name, value = assignment.name, assignment.value
        if not name or name in names:
            raise _broken(f"has in {where} a parameter without a name or a second {shown(name)}")
        names.add(name)
        _check_text(value, f"{where}: {shown(name)}")
        parameter = checks.get(name)
        if parameter is not None:
            problem = _outside(parameter, value, bounded=name not in free)
            if problem:
                raise _broken(f"has in {where} {shown(name)} = {shown(value)}, which {problem}")
        elif checks:
            raise _broken(f"has in {where} a parameter {shown(name)} that is not in the search space")
        found.append(space.ParameterAssignment(name=name, value=value))
    missing = [name for name in checks if name not in names]
    if missing or not found:
        raise _broken(f"has in {where} no value for {', '.join(missing) or 'anything'}")
    return found


def _outside(parameter: space.ParameterSpec, value: str, *, bounded: bool) -> str:
    """Why a value is not one of the parameter's; empty when it is."""
    feasible = parameter.feasible_space
    kind = parameter.parameter_type
    if kind in (space.ParameterType.CATEGORICAL, space.ParameterType.DISCRETE):
        return "" if value in (feasible.choices or ()) or not bounded else "is not in the list"
    if kind == space.ParameterType.INT and not _INTEGER.fullmatch(value):
        return "is no whole number"
    if kind not in (space.ParameterType.INT, space.ParameterType.DOUBLE):
        return ""
    found = convert.number(value)
    if found is None or not math.isfinite(found) or value != value.strip():
        return "is no finite number"
    low, high = convert.number(feasible.min), convert.number(feasible.max)
    if not bounded or low is None or high is None or feasible.distribution in _UNBOUNDED:
        return ""
    slack = 1e-9 * max(abs(low), abs(high)) + abs(convert.number(feasible.step) or 0.0)
    return "" if low - slack <= found <= high + slack else f"lies outside {feasible.min} .. {feasible.max}"


def _check_text(value: str, what: str) -> None:
    if "\0" in value:
        raise _broken(f"has in {what} a NUL character")
    if len(value) > MAX_VALUE_BYTES or len(value.encode()) > MAX_VALUE_BYTES:
        raise _broken(f"has in {what} a value of more than {MAX_VALUE_BYTES} bytes")


def _check_name(name: str, names: set[str], taken: Callable[[str], bool], where: str) -> None:
    if not name:
        return
    if not naming.is_dns_label(name):
        raise _broken(f"has in {where} the trial name {shown(name)}, which is no DNS label of at most 63 characters")
    if name in names or taken(name):
        raise _broken(f"has in {where} the trial name {shown(name)}, which is taken")
    names.add(name)

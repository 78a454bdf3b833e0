"""Early-stopping rules as a metrics collector applies them to one running trial.

The rules of a trial are fixed when it is created and travel as ``name;value;comparison;startStep``. A collector feeds every
value it reads to a :class:`RuleSet`, which says when the trial is to be stopped. Where rules come from is the business of
``kuttab.algorithms.stopping``; ending the process is the collector's.

Meaning (Katib's file collector):

* all rules must be met; each is struck off when it is met, and stays struck off;
* a rule on the objective compares the *best value so far*, a rule on another metric the current value;
* a rule with start step n > 0 is not compared before its metric has been reported n times; the n-th value is compared;
* ``equal``, ``less`` and ``greater`` read: value against the rule's value.

Katib's collector dies of a value that is no number. Here such a report counts as seen and is otherwise no value: it is neither
best nor compared. An infinite objective in the good direction is no value either, so it can never hide a bad trial.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kuttab.api import suggestion
from kuttab.base import errors
from kuttab.rules import metric_values

COMPARISONS: Final = ("equal", "less", "greater")


def parse_argument(text: str) -> suggestion.EarlyStoppingRule:
    """Read ``name;value;comparison;startStep``, the form of the collector's ``-stop-rule`` flag; BadInputError otherwise."""
    parts = text.split(";")
    if len(parts) != 4:
        raise errors.BadInputError(
            f"stop rule {text!r} must have four parts, name;value;comparison;startStep, but has {len(parts)}"
        )
    name, value, comparison, start = parts
    if not re.fullmatch(r"[0-9]{1,9}", start):
        raise errors.BadInputError(f"stop rule {text!r}: startStep must be a whole number from 0, not {start!r}")
    rule = suggestion.EarlyStoppingRule(name=name, value=value, comparison=comparison, start_step=int(start))
    problems = check([rule])
    if problems:
        raise errors.InvalidError(problems, f"stop rule {text!r}")
    return rule


def format_argument(rule: suggestion.EarlyStoppingRule) -> str:
    """The text that :func:`parse_argument` reads back."""
    return f"{rule.name};{rule.value};{rule.comparison};{rule.start_step}"


def check(rules: Sequence[suggestion.EarlyStoppingRule], path: str = "earlyStoppingRules") -> list[errors.Problem]:
    """Every reason why these rules cannot be applied, each at its field path."""
    problems = []
    for index, rule in enumerate(rules):
        at = f"{path}[{index}]"
        if not rule.name or ";" in rule.name:
            problems.append(errors.Problem(f"{at}.name", "must be the name of a metric, without ';'"))
        if not math.isfinite(_number(rule.value)):
            problems.append(errors.Problem(f"{at}.value", f"must be a finite number, not {rule.value[:40]!r}"))
        if rule.comparison not in COMPARISONS:
            allowed = ", ".join(COMPARISONS)
            problems.append(
                errors.Problem(
                    f"{at}.comparison", f"must be one of {allowed}, not {rule.comparison!r}", "FieldValueNotSupported"
                )
            )
        if rule.start_step < 0:
            problems.append(errors.Problem(f"{at}.startStep", f"must be at least 0, not {rule.start_step}"))
    return problems


class RuleSet:
    """The rules of one trial and what has been seen of their metrics.

    ``direction`` is ``minimize`` or ``maximize``. Raises InvalidError when a rule cannot be applied. Without rules it never stops
    anything.
    """

    def __init__(self, rules: Sequence[suggestion.EarlyStoppingRule], objective_metric: str, direction: str) -> None:
        problems = check(rules)
        if direction not in ("minimize", "maximize"):
            problems.append(errors.Problem("objective.type", f"must be minimize or maximize, not {direction!r}"))
        if problems:
            raise errors.InvalidError(problems, "early stopping")
        self._rules = tuple(rules)
        self._objective = objective_metric
        self._sign = -1.0 if direction == "maximize" else 1.0
        self._open = list(range(len(self._rules)))
        self._seen = {rule.name: 0 for rule in self._rules}
        self._best: float | None = None

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics that some rule looks at; others need not be observed."""
        return frozenset(self._seen)

    @property
    def stopped(self) -> bool:
        """Whether every rule has been met."""
        return bool(self._rules) and not self._open

    def observe(self, metric: str, value_text: str) -> bool:
        """Take in one reported value, in the order of the reports; true when the trial is to be stopped (and ever after)."""
        if metric not in self._seen:
            return self.stopped
        self._seen[metric] += 1
        value = _number(value_text)
        if metric == self._objective:
            value = self._best_with(value)
        self._open = [index for index in self._open if not self._met(self._rules[index], metric, value)]
        return self.stopped

    def _best_with(self, value: float) -> float:
        """The best objective so far, the given one included; NaN while there is none."""
        if not math.isnan(value) and self._sign * value != -math.inf:
            self._best = value if self._best is None else self._sign * min(self._sign * value, self._sign * self._best)
        return math.nan if self._best is None else self._best

    def _met(self, rule: suggestion.EarlyStoppingRule, metric: str, value: float) -> bool:
        if rule.name != metric or self._seen[metric] < rule.start_step or math.isnan(value):
            return False
        bar = _number(rule.value)
        return {"equal": value == bar, "less": value < bar, "greater": value > bar}[rule.comparison]

    def state(self) -> dict[str, Any]:
        """Everything seen so far, as JSON (an infinite best as text), for :meth:`restore`."""
        return {
            "open": list(self._open),
            "seen": dict(self._seen),
            "best": None if self._best is None else repr(self._best),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state` of the same rules; CorruptError, with nothing changed, when it is none."""
        left, seen, best = state.get("open"), state.get("seen"), state.get("best")
        if (
            not isinstance(left, list)
            or not all(type(index) is int and 0 <= index < len(self._rules) for index in left)
            or len(set(left)) != len(left)
            or not isinstance(seen, Mapping)
            or set(seen) != set(self._seen)
            or not all(type(count) is int and count >= 0 for count in seen.values())
            or not (best is None or (isinstance(best, str) and not math.isnan(_number(best))))
        ):
            raise errors.CorruptError("the saved state of the early-stopping rules does not belong to these rules")
        self._open = sorted(left)
        self._seen = {name: seen[name] for name in self._seen}
        self._best = None if best is None else _number(best)


def _number(text: str) -> float:
    """The number that a metric's text spells; NaN for anything else."""
    value = metric_values.number(text)
    return math.nan if value is None else value

"""Settings of algorithms: declared once with type, default, range and help; read from the text of a manifest.

A settings class is a frozen dataclass whose fields are made by :func:`integer`, :func:`real`, :func:`choice`, :func:`text`
or :func:`flag`; ``None`` as default makes a field optional, :data:`REQUIRED` makes it required. Reading collects every
problem. Old and foreign spellings of a name are aliases and are accepted with a warning.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

from kuttab.base import errors

PATH = "spec.algorithm.algorithmSettings"
REQUIRED: Final = dataclasses.MISSING

_INT = re.compile(r"[+-]?\d+\Z")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a setting's text must be. ``none`` means that the text ``None`` is allowed and gives ``None``."""

    kind: str
    help: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    none: bool = False

    @property
    def range(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        parts = []
        if self.low > -math.inf:
            parts.append(f"{'>' if self.open_low else '>='} {_short(self.low)}")
        if self.high < math.inf:
            parts.append(f"{'<' if self.open_high else '<='} {_short(self.high)}")
        words = " and ".join(parts) or "any"
        return f"{words}, or None" if self.none else words

    def read(self, text: str) -> Any:
        """The value; raises ValueError saying what was expected."""
        text = text.strip()
        if self.none and text == "None":
            return None
        if self.kind == "text":
            if not text:
                raise ValueError("must not be empty")
            return text
        if self.kind == "choice":
            if text not in self.choices:
                raise ValueError(f"{text!r} is not supported; use {self.range}")
            return text
        if self.kind == "flag":
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{text!r} is neither true nor false")
            return text.lower() == "true"
        return self._number(text)

    def _number(self, text: str) -> float | int:
        number: float | int
        if self.kind == "int":
            if not _INT.match(text):
                raise ValueError(f"{text!r} is not an integer")
            number = int(text)
        else:
            try:
                number = float(text)
            except ValueError:
                raise ValueError(f"{text!r} is not a number") from None
            if not math.isfinite(number):
                raise ValueError(f"{text!r} is not a finite number")
        below = number <= self.low if self.open_low else number < self.low
        above = number >= self.high if self.open_high else number > self.high
        if below or above:
            raise ValueError(f"{text} is out of range: must be {self.range}")
        return number


def _field(rule: Rule, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"rule": rule})


def integer(
    default: Any,
    help: str,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    aliases: Sequence[str] = (),
    none: bool = False,
) -> Any:
    """A whole number, bounds included."""
    return _field(Rule("int", help, at_least, at_most, aliases=tuple(aliases), none=none), default)


def real(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    aliases: Sequence[str] = (),
    none: bool = False,
) -> Any:
    """A finite number; ``at_least`` and ``at_most`` include the bound, ``above`` and ``below`` do not."""
    low = above if above is not None else -math.inf if at_least is None else at_least
    high = below if below is not None else math.inf if at_most is None else at_most
    rule = Rule("double", help, low, high, above is not None, below is not None, aliases=tuple(aliases), none=none)
    return _field(rule, default)


def choice(default: Any, help: str, choices: Sequence[str], *, aliases: Sequence[str] = (), none: bool = False) -> Any:
    """One of several words."""
    return _field(Rule("choice", help, choices=tuple(choices), aliases=tuple(aliases), none=none), default)


def text(default: Any, help: str, *, aliases: Sequence[str] = ()) -> Any:
    """Free text."""
    return _field(Rule("text", help, aliases=tuple(aliases)), default)


def flag(default: bool, help: str, *, aliases: Sequence[str] = ()) -> Any:
    """true or false."""
    return _field(Rule("flag", help, aliases=tuple(aliases)), default)


@dataclasses.dataclass(frozen=True)
class Described:
    """A setting for people: ``kuttab algorithms NAME`` prints it."""

    name: str
    type: str
    default: str
    range: str
    help: str
    aliases: tuple[str, ...]
    required: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of every algorithm's settings; ``extra`` holds unknown ones where the algorithm passes them on."""

    PASS_ON: ClassVar[bool] = False
    """Whether unknown settings are kept in ``extra`` instead of refused."""

    random_state: int | None = integer(
        None, "Seed; without it the seed follows from the experiment's identity.", at_least=0, aliases=("seed",)
    )
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """Rule by setting name, in the order of declaration."""
        return {f.name: f.metadata["rule"] for f in dataclasses.fields(cls) if "rule" in f.metadata}

    @classmethod
    def describe(cls) -> list[Described]:
        """Every setting with its default, range and help."""
        out = []
        for f in dataclasses.fields(cls):
            rule: Rule | None = f.metadata.get("rule")
            if rule is not None:
                required = f.default is REQUIRED
                default = "" if required else _default_text(f.default)
                out.append(Described(f.name, rule.kind, default, rule.range, rule.help, rule.aliases, required))
        return out

    @classmethod
    def parse(cls, given: Mapping[str, str], path: str = PATH) -> tuple[Self | None, list[errors.Problem]]:
        """Read settings by name; the object is None when there is any problem."""
        rules = cls.rules()
        spelled = {alias: name for name, rule in rules.items() for alias in rule.aliases}
        values: dict[str, Any] = {}
        extra: dict[str, str] = {}
        problems: list[errors.Problem] = []
        for key, value in given.items():
            name = spelled.get(key, key)
            if name not in rules:
                extra[key] = value
                if not cls.PASS_ON:
                    problems.append(_unknown(key, rules, path))
            elif name in values:
                message = f"is the same setting as {name}, which is given too; keep one"
                problems.append(errors.Problem(f"{path}[{key}]", message, "FieldValueDuplicate"))
            else:
                try:
                    values[name] = rules[name].read(str(value))
                except ValueError as error:
                    reason = "FieldValueNotSupported" if rules[name].choices else "FieldValueInvalid"
                    problems.append(errors.Problem(f"{path}[{key}]", str(error), reason))
                    values[name] = None
        for f in dataclasses.fields(cls):
            if "rule" in f.metadata and f.default is REQUIRED and f.name not in values:
                message = f"is required: {f.metadata['rule'].help}"
                problems.append(errors.Problem(f"{path}[{f.name}]", message, "FieldValueRequired"))
        if problems:
            return None, problems
        return cls(**values, extra=extra), []

    @classmethod
    def warnings(cls, given: Mapping[str, str]) -> list[str]:
        """A sentence for every setting that is given under an old or foreign spelling."""
        spelled = {alias: name for name, rule in cls.rules().items() for alias in rule.aliases}
        return [f"setting {key} is an old name; write {spelled[key]}" for key in given if key in spelled]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectivesSettings(Settings):
    """Settings of an algorithm for several objectives."""

    additional_objectives: str | None = text(
        None,
        "Further objectives out of additionalMetricNames with their directions, such as latency:minimize,recall:maximize.",
    )

    def directions(self) -> list[tuple[str, int]]:
        """Metric and direction (1 to minimise, -1 to maximise) of each further objective; raises ValueError."""
        out = []
        for part in (self.additional_objectives or "").split(","):
            if not part.strip():
                continue
            metric, _, direction = part.strip().rpartition(":")
            if direction not in ("minimize", "maximize") or not metric:
                raise ValueError(f"{part.strip()!r} must be a metric and its direction, such as latency:minimize")
            out.append((metric, 1 if direction == "minimize" else -1))
        return out


def _unknown(key: str, rules: Mapping[str, Rule], path: str) -> errors.Problem:
    near = difflib.get_close_matches(key, rules, n=1)
    hint = f"did you mean {near[0]}?" if near else "known settings: " + ", ".join(rules)
    return errors.Problem(f"{path}[{key}]", f"unknown setting; {hint}", "FieldValueNotSupported")


def _default_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _short(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)

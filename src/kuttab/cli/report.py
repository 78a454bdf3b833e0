"""What ``kuttab run`` prints at the end: the top trials, the best parameters ready to paste, where to look further."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kuttab.api import conditions, experiment, history, keys, meta, trial
from kuttab.cli import render
from kuttab.rules import explaining, trial_state
from kuttab.sdk import typed as typed_
from kuttab.wiring import settings as settings_

TOP = 5


def as_text(
    subject: experiment.Experiment, trials: Sequence[trial.Trial], settings: settings_.Settings, *, brief: bool
) -> str:
    """The result for people."""
    objective = subject.spec.objective or experiment.ObjectiveSpec()
    records = ranked([trial_state.record(item) for item in trials], objective)
    last = (subject.status.conditions or [])[-1]
    lines = [] if brief else ["", f"{last.type}: {render.clean(last.message)}", ""]
    if not records:
        lines += _without_number(subject)
        lines += [render.clean(line) for line in explaining.experiment_story(subject, None, trials, acting=True)[1:]]
        return "\n".join(lines)
    if not brief:
        lines += [_table(records[:TOP], objective), ""]
    lines += [
        f"# best trial: {records[0].name}, {render.clean(objective.objective_metric_name)} {records[0].objective:.6g}"
    ]
    lines.append(render.as_yaml({"parameters": typed(subject, records[0].assignments)}))
    if not brief:
        lines += [
            "",
            f"Logs:  {settings.trials}",
            f"More:  kuttab describe {subject.name} | kuttab get trials {subject.name}",
        ]
        if conditions.is_true(subject.status.conditions, keys.FAILED):
            lines += [
                "Why:   " + render.clean(line)
                for line in explaining.experiment_story(subject, None, trials, acting=True)[1:]
            ]
    return "\n".join(lines)


def _without_number(subject: experiment.Experiment) -> list[str]:
    """An objective may be text, such as an architecture: then the best trial is the last that told one."""
    optimal = subject.status.current_optimal_trial
    if optimal is None or not optimal.best_trial_name:
        return ["No trial has measured the objective."]
    told = {metric.name: metric.latest for metric in optimal.observation.metrics or ()}
    given = {item.name: item.value for item in optimal.parameter_assignments or ()}
    return [
        f"# best trial: {optimal.best_trial_name}",
        render.as_yaml({"metrics": told, "parameters": typed(subject, given)}),
    ]


def typed(subject: experiment.Experiment, assignments: Mapping[str, str]) -> dict[str, Any]:
    """Values as their parameter's type says: integers and numbers as such, categories as text."""
    return typed_.values(assignments, typed_.types_of(subject))


def ranked(records: Sequence[history.TrialRecord], objective: experiment.ObjectiveSpec) -> list[history.TrialRecord]:
    """Trials with a finite objective, best first; ties by slot."""
    sign = -1.0 if objective.type == experiment.ObjectiveType.MAXIMIZE else 1.0
    found = [record for record in records if record.objective is not None and math.isfinite(record.objective)]
    return sorted(found, key=lambda record: (sign * (record.objective or 0.0), record.slot))


def _table(records: Sequence[history.TrialRecord], objective: experiment.ObjectiveSpec) -> str:
    header = ["TRIAL", "STATUS", objective.objective_metric_name, *records[0].names]
    rows = [
        [record.name, record.state, f"{record.objective:.6g}", *(render.number(value) for value in record.values)]
        for record in records
    ]
    return render.table(header, rows)


def as_json(subject: experiment.Experiment, trials: Sequence[trial.Trial]) -> str:
    """The result for programs."""
    return render.as_json({"experiment": meta.dump(subject), "trials": [meta.dump(item) for item in trials]})

"""Results to look at: a study as a controller leaves it, with everything that can go wrong in it."""

from __future__ import annotations

import math
import random
from typing import Any

from kuttab.api import experiment, keys, meta, trial
from kuttab.api.metrics import Row
from kuttab.sdk import results, search
from kuttab.testing import builders

HOSTILE = "<script>alert(1)</script>"

SPACE = {
    "lr": search.double(1e-5, 0.1, log=True),
    "layers": search.int(1, 8),
    "act": search.categorical(["relu", HOSTILE, '" onload="x']),
    "width": search.discrete([16, 32, 64]),
}


def experiment_of(count: int, **spec: Any) -> experiment.Experiment:
    """An ended experiment over SPACE that maximises accuracy."""
    given = {
        "parameters": [meta.dump(item) for item in search.specs(SPACE)],
        "objective": {"type": "maximize", "objectiveMetricName": "accuracy", "additionalMetricNames": ["size"]},
        "maxTrialCount": count,
        **spec,
    }
    document = meta.dump(builders.experiment("digits", **given))
    document["status"] = {
        "conditions": [
            {"type": "Created", "status": "True", "reason": "ExperimentCreated", "message": "Experiment is created"},
            {
                "type": "Succeeded",
                "status": "True",
                "reason": "ExperimentMaxTrialsReached",
                "message": f"ran {count} & ended",
            },
        ]
    }
    return experiment.Experiment.load(document)


def trials_of(subject: experiment.Experiment, count: int, seed: int = 1) -> list[trial.Trial]:
    """Trials of which some failed and some were stopped early."""
    chance = random.Random(seed)
    ends = [0, 0]
    found = []
    for slot in range(count):
        lr, layers = 10 ** chance.uniform(-5, -1), chance.randint(1, 8)
        texts = {
            "lr": repr(lr),
            "layers": str(layers),
            "act": chance.choice(SPACE["act"].texts),
            "width": chance.choice(("16", "64")),
        }
        accuracy = repr(0.9 - 0.05 * (math.log10(lr) + 3) ** 2 - 0.01 * abs(layers - 4))
        condition = (keys.FAILED, keys.EARLY_STOPPED, *[keys.SUCCEEDED] * 6)[slot % 8]
        lane = ends.index(min(ends))
        start, ends[lane] = ends[lane], ends[lane] + chance.randint(1, 9)
        found.append(_trial(subject, slot, texts, accuracy, condition, (start, ends[lane])))
    return found


def _trial(
    subject: experiment.Experiment,
    slot: int,
    texts: dict[str, str],
    accuracy: str,
    condition: str,
    times: tuple[int, int],
) -> trial.Trial:
    document = meta.dump(builders.trial(f"digits-{slot:05d}"))
    document["metadata"] |= {"annotations": {keys.ANNOTATION_SLOT: str(slot)}, "uid": str(slot)}
    document["spec"]["objective"] = meta.dump(subject.spec.objective) if subject.spec.objective else {}
    document["spec"]["parameterAssignments"] = [{"name": name, "value": value} for name, value in texts.items()]
    metrics = {} if condition == keys.FAILED else {"accuracy": accuracy, "size": texts["layers"]}
    document["status"] = {
        "startTime": _time(times[0]),
        "completionTime": _time(times[1]),
        "conditions": [
            {"type": condition, "status": "True", "reason": "OOMKilled", "message": f"exit code 137 {HOSTILE}"}
        ],
        "observation": {"metrics": [{"name": n, "latest": v, "min": v, "max": v} for n, v in metrics.items()]},
    }
    return trial.Trial.load(document)


def _time(seconds: int) -> str:
    return f"2026-01-01T{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}Z"


def result(count: int = 40, *, seed: int = 1, curves: bool = True, **spec: Any) -> results.Result:
    """A result of so many trials, with learning curves that end at each trial's value."""
    subject = experiment_of(count, **spec)
    trials = trials_of(subject, count, seed)
    values = {item.uid: item.status.observation.metrics for item in trials if item.status.observation}

    def read(key: Any) -> list[Row]:
        found = values.get(key.uid) or []
        end = float(found[0].latest) if found else 0.0
        return [Row("accuracy", repr(end * (1 - 0.5**step))) for step in range(1, 8)] if found else []

    return results.Result.of(subject, trials, space=SPACE, read=read if curves else None)

"""Labels on the pods of a trial, where nothing else puts them there: so that its output can be found."""

from __future__ import annotations

import copy

from kuttab.admission import workloads
from kuttab.api import keys, meta, trial


def dress(subject: trial.Trial, document: meta.Json) -> meta.Json:
    """The workload with the trial's label on each pod template whose place in the kind is known; a user's labels stay."""
    dressed = copy.deepcopy(document)
    for _, template in workloads.pod_templates(dressed, ""):
        metadata = template["metadata"] = {**(template.get("metadata") or {})}
        metadata["labels"] = {**(metadata.get("labels") or {}), keys.LABEL_TRIAL: subject.name}
    return dressed

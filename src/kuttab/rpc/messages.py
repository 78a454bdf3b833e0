"""The messages of ``api.v1.beta1`` as classes, and the paths of its methods.

The classes live in a registry of their own, so that a process may also load the kubeflow-katib SDK, which brings its own classes of
the same names.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory

from kuttab.rpc.gen import api_descriptor

PACKAGE: Final = "api.v1.beta1"

_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(base64.b64decode(api_descriptor.FILE))

Message = Any
"""A protobuf message; its fields are known to protobuf only."""


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def _enum(name: str) -> dict[str, int]:
    return {value.name: value.number for value in _POOL.FindEnumTypeByName(f"{PACKAGE}.{name}").values}


Experiment = _message("Experiment")
Trial = _message("Trial")
ParameterSpec = _message("ParameterSpec")
ObjectiveSpec = _message("ObjectiveSpec")
AlgorithmSpec = _message("AlgorithmSpec")
EarlyStoppingSpec = _message("EarlyStoppingSpec")
EarlyStoppingRule = _message("EarlyStoppingRule")
MetricLog = _message("MetricLog")
GetSuggestionsRequest = _message("GetSuggestionsRequest")
GetSuggestionsReply = _message("GetSuggestionsReply")
ValidateAlgorithmSettingsRequest = _message("ValidateAlgorithmSettingsRequest")
ValidateAlgorithmSettingsReply = _message("ValidateAlgorithmSettingsReply")
GetEarlyStoppingRulesRequest = _message("GetEarlyStoppingRulesRequest")
GetEarlyStoppingRulesReply = _message("GetEarlyStoppingRulesReply")
SetTrialStatusRequest = _message("SetTrialStatusRequest")
SetTrialStatusReply = _message("SetTrialStatusReply")
ValidateEarlyStoppingSettingsRequest = _message("ValidateEarlyStoppingSettingsRequest")
ValidateEarlyStoppingSettingsReply = _message("ValidateEarlyStoppingSettingsReply")
ReportObservationLogRequest = _message("ReportObservationLogRequest")
ReportObservationLogReply = _message("ReportObservationLogReply")
GetObservationLogRequest = _message("GetObservationLogRequest")
GetObservationLogReply = _message("GetObservationLogReply")
DeleteObservationLogRequest = _message("DeleteObservationLogRequest")
DeleteObservationLogReply = _message("DeleteObservationLogReply")

PARAMETER_TYPE: Final = _enum("ParameterType")
DISTRIBUTION: Final = _enum("Distribution")
OBJECTIVE_TYPE: Final = _enum("ObjectiveType")
COMPARISON: Final = _enum("ComparisonType")
TRIAL_CONDITION: Final = _enum("TrialStatus.TrialConditionType")

SUGGESTION: Final = f"{PACKAGE}.Suggestion"
OLD_SUGGESTION: Final = "api.v1.alpha3.Suggestion"
"""The name of the same service before v1beta1."""
EARLY_STOPPING: Final = f"{PACKAGE}.EarlyStopping"
DB_MANAGER: Final = f"{PACKAGE}.DBManager"

METHODS: Final[dict[str, dict[str, tuple[Any, Any]]]] = {
    SUGGESTION: {
        "GetSuggestions": (GetSuggestionsRequest, GetSuggestionsReply),
        "ValidateAlgorithmSettings": (ValidateAlgorithmSettingsRequest, ValidateAlgorithmSettingsReply),
    },
    EARLY_STOPPING: {
        "GetEarlyStoppingRules": (GetEarlyStoppingRulesRequest, GetEarlyStoppingRulesReply),
        "SetTrialStatus": (SetTrialStatusRequest, SetTrialStatusReply),
        "ValidateEarlyStoppingSettings": (ValidateEarlyStoppingSettingsRequest, ValidateEarlyStoppingSettingsReply),
    },
    DB_MANAGER: {
        "ReportObservationLog": (ReportObservationLogRequest, ReportObservationLogReply),
        "GetObservationLog": (GetObservationLogRequest, GetObservationLogReply),
        "DeleteObservationLog": (DeleteObservationLogRequest, DeleteObservationLogReply),
    },
}
"""Service to method to (request, reply)."""

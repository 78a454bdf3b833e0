"""Katib's gRPC contract as a stranger would write it down: for tests that talk to our side without any of our code.

Written from the contract's facts, in another order and with other comments than ours; compiled by protoc when a test needs it.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
from types import ModuleType
from typing import Any

TODAY = """
syntax = "proto3";
package api.v1.beta1;

message ParameterAssignment { string name = 1; string value = 2; }
message Metric { string name = 1; string value = 2; }
message MetricLog { string time_stamp = 1; Metric metric = 2; }
message ObservationLog { repeated MetricLog metric_logs = 1; }
message Observation { repeated Metric metrics = 1; }

message ReportObservationLogRequest { string trial_name = 1; ObservationLog observation_log = 2; }
message ReportObservationLogReply { }
message GetObservationLogRequest { string trial_name = 1; string metric_name = 2; string start_time = 3; string end_time = 4; }
message GetObservationLogReply { ObservationLog observation_log = 1; }
message DeleteObservationLogRequest { string trial_name = 1; }
message DeleteObservationLogReply { }

enum ParameterType { UNKNOWN_TYPE = 0; DOUBLE = 1; INT = 2; DISCRETE = 3; CATEGORICAL = 4; }
enum Distribution { DISTRIBUTION_UNSPECIFIED = 0; UNIFORM = 1; LOG_UNIFORM = 2; NORMAL = 3; LOG_NORMAL = 4; }
enum ObjectiveType { UNKNOWN = 0; MINIMIZE = 1; MAXIMIZE = 2; }
enum ComparisonType { UNKNOWN_COMPARISON = 0; EQUAL = 1; LESS = 2; GREATER = 3; }

message FeasibleSpace { string max = 1; string min = 2; repeated string list = 3; string step = 4; Distribution distribution = 5; }
message ParameterSpec { string name = 1; ParameterType parameter_type = 2; FeasibleSpace feasible_space = 3; }
message ObjectiveSpec {
  ObjectiveType type = 1; double goal = 2; string objective_metric_name = 3; repeated string additional_metric_names = 4;
}
message AlgorithmSetting { string name = 1; string value = 2; }
message AlgorithmSpec { string algorithm_name = 1; repeated AlgorithmSetting algorithm_settings = 2; }
message EarlyStoppingSetting { string name = 1; string value = 2; }
message EarlyStoppingSpec { string algorithm_name = 1; repeated EarlyStoppingSetting algorithm_settings = 2; }
message GraphConfig { int32 num_layers = 1; repeated int32 input_sizes = 2; repeated int32 output_sizes = 3; }
message Operation {
  message ParameterSpecs { repeated ParameterSpec parameters = 1; }
  string operation_type = 1; ParameterSpecs parameter_specs = 2;
}
message NasConfig {
  message Operations { repeated Operation operation = 1; }
  GraphConfig graph_config = 1; Operations operations = 2;
}
message ExperimentSpec {
  message ParameterSpecs { repeated ParameterSpec parameters = 1; }
  ParameterSpecs parameter_specs = 1; ObjectiveSpec objective = 2; AlgorithmSpec algorithm = 3; EarlyStoppingSpec early_stopping = 4;
  int32 parallel_trial_count = 5; int32 max_trial_count = 6; NasConfig nas_config = 7;
}
message Experiment { string name = 1; ExperimentSpec spec = 2; }
message TrialSpec {
  message ParameterAssignments { repeated ParameterAssignment assignments = 1; }
  ObjectiveSpec objective = 2; ParameterAssignments parameter_assignments = 3; map<string, string> labels = 4;
}
message TrialStatus {
  enum TrialConditionType {
    CREATED = 0; RUNNING = 1; SUCCEEDED = 2; KILLED = 3; FAILED = 4; METRICSUNAVAILABLE = 5; EARLYSTOPPED = 6; UNKNOWN = 7;
  }
  string start_time = 1; string completion_time = 2; TrialConditionType condition = 3; Observation observation = 4;
}
message Trial { string name = 1; TrialSpec spec = 2; TrialStatus status = 3; }
message EarlyStoppingRule { string name = 1; string value = 2; ComparisonType comparison = 3; int32 start_step = 4; }

message GetSuggestionsRequest {
  Experiment experiment = 1; repeated Trial trials = 2; int32 current_request_number = 4; int32 total_request_number = 5;
}
message GetSuggestionsReply {
  message ParameterAssignments {
    repeated ParameterAssignment assignments = 1; string trial_name = 2; map<string, string> labels = 3;
  }
  repeated ParameterAssignments parameter_assignments = 1;
  AlgorithmSpec algorithm = 2;
  repeated EarlyStoppingRule early_stopping_rules = 3;
}
message ValidateAlgorithmSettingsRequest { Experiment experiment = 1; }
message ValidateAlgorithmSettingsReply { }
message GetEarlyStoppingRulesRequest { Experiment experiment = 1; repeated Trial trials = 2; string db_manager_address = 3; }
message GetEarlyStoppingRulesReply { repeated EarlyStoppingRule early_stopping_rules = 1; }
message ValidateEarlyStoppingSettingsRequest { EarlyStoppingSpec early_stopping = 1; }
message ValidateEarlyStoppingSettingsReply { }
message SetTrialStatusRequest { string trial_name = 1; }
message SetTrialStatusReply { }

service Suggestion {
  rpc GetSuggestions(GetSuggestionsRequest) returns (GetSuggestionsReply);
  rpc ValidateAlgorithmSettings(ValidateAlgorithmSettingsRequest) returns (ValidateAlgorithmSettingsReply);
}
service EarlyStopping {
  rpc GetEarlyStoppingRules(GetEarlyStoppingRulesRequest) returns (GetEarlyStoppingRulesReply);
  rpc SetTrialStatus(SetTrialStatusRequest) returns (SetTrialStatusReply);
  rpc ValidateEarlyStoppingSettings(ValidateEarlyStoppingSettingsRequest) returns (ValidateEarlyStoppingSettingsReply);
}
service DBManager {
  rpc ReportObservationLog(ReportObservationLogRequest) returns (ReportObservationLogReply);
  rpc GetObservationLog(GetObservationLogRequest) returns (GetObservationLogReply);
  rpc DeleteObservationLog(DeleteObservationLogRequest) returns (DeleteObservationLogReply);
}
"""

HEALTH = """
syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; }
  ServingStatus status = 1;
}
service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }
"""


def compiled(folder: pathlib.Path) -> tuple[Any, Any]:
    """The modules (messages, stubs) that protoc makes of TODAY, as Katib's own build has them."""
    from grpc_tools import protoc

    (folder / "stranger_api.proto").write_text(TODAY)
    arguments = [
        "protoc",
        f"-I{folder}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        str(folder / "stranger_api.proto"),
    ]
    assert protoc.main(arguments) == 0
    return _imported(folder, "stranger_api_pb2"), _imported(folder, "stranger_api_pb2_grpc")


def _imported(folder: pathlib.Path, name: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))

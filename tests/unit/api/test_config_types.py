"""The types of KatibConfig: what a file says is kept exactly, and every field of a service has its stated treatment."""

from __future__ import annotations

from kuttab.api import config, meta

DOCUMENT = {
    "apiVersion": "config.kubeflow.org/v1beta1",
    "kind": "KatibConfig",
    "init": {
        "controller": {
            "webhookPort": 8443,
            "enableGRPCProbeInSuggestion": True,
            "trialResources": ["Job.v1.batch"],
            "leaderElectionID": "x",
        },
        "certGenerator": {"enable": True, "webhookServiceName": "katib-controller"},
    },
    "runtime": {
        "suggestions": [
            {
                "algorithmName": "random",
                "image": "ghcr.io/kubeflow/katib/suggestion-hyperopt:latest",
                "resources": {"limits": {"cpu": "1"}},
                "timeoutSeconds": 5.0,
            }
        ],
        "earlyStoppings": [{"algorithmName": "medianstop", "image": "m:1"}],
        "metricsCollectors": [{"kind": "StdOut", "image": "f:1", "waitAllProcesses": False}],
        "quota": {"cpus": 4},
    },
}


def test_a_configuration_comes_back_as_it_was_written() -> None:
    """Names with capitals of their own (ID, GRPC) and explicit false are kept, absent stays absent."""
    assert meta.dump(config.KatibConfig.load(DOCUMENT)) == DOCUMENT


def test_every_field_of_a_service_is_honoured_ignored_or_refused() -> None:
    """No field of a container is silently dropped: each is in exactly one of the three groups."""
    honoured = {
        "algorithmName", "image", "command", "args", "env", "workingDir", "volumeMountPath", "timeoutSeconds",
    }  # fmt: skip
    ignored, refused = set(config.IGNORED_HERE), set(config.REFUSED_HERE)
    names = {field.alias or name for name, field in config.ServiceConfig.model_fields.items()}
    assert honoured | ignored | refused == names
    assert len(honoured) + len(ignored) + len(refused) == len(names)

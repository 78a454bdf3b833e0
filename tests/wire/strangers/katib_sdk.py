"""Drives ``kuttab serve`` with the unmodified PyPI package ``kubeflow-katib``; run by that package's Python, prints one JSON line a step.

Nothing of ours is imported here. Arguments: address of the db-manager; files with the guides' snippets for users (a script) and for trials.
The kubeconfig comes from ``KUBECONFIG``.
"""

import json
import pathlib
import runpy
import sys
import time
import traceback

from kubeflow.katib import KatibClient, models, search
from kubernetes import client as k8s
from kubernetes import config, watch

DB_MANAGER, GUIDE, PUSH = sys.argv[1:4]
PROGRAM = (
    "import sys; x = float(sys.argv[1]); [print(f'epoch={e} loss={(x - 0.3) ** 2 + 1 / e:.6f}') for e in (1, 2, 3)]"
)


def experiment(name, trials=3):
    """A v1beta1 Experiment built from the SDK's own models."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "training",
                            "image": "docker.io/any/image:1",
                            "command": ["python3", "-c", PROGRAM, "${trialParameters.x}"],
                        }
                    ],
                }
            }
        },
    }
    spec = models.V1beta1ExperimentSpec(
        objective=models.V1beta1ObjectiveSpec(type="minimize", objective_metric_name="loss"),
        algorithm=models.V1beta1AlgorithmSpec(algorithm_name="random"),
        parallel_trial_count=2, max_trial_count=trials, max_failed_trial_count=1,
        resume_policy="LongRunning",
        parameters=[
            models.V1beta1ParameterSpec(
                name="x", parameter_type="double", feasible_space=models.V1beta1FeasibleSpace(min="0", max="1")
            )
        ],
        trial_template=models.V1beta1TrialTemplate(
            primary_container_name="training", retain=True,
            trial_parameters=[models.V1beta1TrialParameterSpec(name="x", reference="x")],
            trial_spec=job,
        ),
    )  # fmt: skip
    meta = k8s.V1ObjectMeta(name=name, namespace="default")
    return models.V1beta1Experiment(api_version="kubeflow.org/v1beta1", kind="Experiment", metadata=meta, spec=spec)


def plain(model):
    """A model as the JSON that the package would send."""
    return k8s.ApiClient().sanitize_for_serialization(model)


class Steps:
    """What the package offers, in the order in which a user meets it."""

    def __init__(self):
        self.katib = KatibClient(namespace="default")

    def create(self):
        self.katib.create_experiment(experiment("sdk"), namespace="default")
        assert self.katib.is_experiment_created("sdk")

    def create_again(self):
        try:
            self.katib.create_experiment(experiment("sdk"), namespace="default")
        except Exception as problem:
            assert "already exists" in str(problem), problem
        else:
            raise AssertionError("a second one of that name was taken")

    def wait(self):
        done = self.katib.wait_for_experiment_condition("sdk", timeout=60, polling_interval=1)
        assert done.status.trials_succeeded == 3, done.status
        assert self.katib.is_experiment_succeeded("sdk")
        assert not self.katib.is_experiment_failed("sdk")

    def get(self):
        found = self.katib.get_experiment("sdk")
        assert found.spec.max_trial_count == 3
        assert any(item.metadata.name == "sdk" for item in self.katib.list_experiments())
        assert self.katib.get_suggestion("sdk").status.suggestion_count == 3

    def conditions(self):
        types = [item.type for item in self.katib.get_experiment_conditions("sdk")]
        assert types == ["Created", "Running", "Succeeded"], types

    def optimal(self):
        best = self.katib.get_optimal_hyperparameters("sdk")
        values = {m.name: m for m in best.observation.metrics}
        trials = self.katib.get_success_trial_details("sdk")
        assert len(trials) == 3
        losses = [float(next(m.min for m in t["metrics"] if m.name == "loss")) for t in trials]
        assert float(values["loss"].min) == min(losses)

    def trials(self):
        items = self.katib.list_trials("sdk")
        assert len(items) == 3
        one = self.katib.get_trial(items[0].metadata.name)
        assert one.spec.parameter_assignments[0].name == "x"

    def metrics(self):
        name = self.katib.list_trials("sdk")[0].metadata.name
        rows = self.katib.get_trial_metrics(name, namespace="default", db_manager_address=DB_MANAGER)
        assert [row.metric.name for row in rows] == ["loss"] * 3, rows

    def logs(self):
        name = self.katib.list_trials("sdk")[0].metadata.name
        text = "".join(self.katib.get_job_logs("sdk", trial_name=name))
        assert "epoch=3 loss=" in text, text

    def logs_followed(self):
        body = plain(experiment("slow", 1))
        body["spec"]["parallelTrialCount"] = 1
        program = (
            "import sys, time; [(print('tick', i, flush=True), time.sleep(0.2)) for i in range(5)]; print('loss=0.1')"
        )
        body["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["command"][2] = program
        self.katib.create_experiment(body, namespace="default")
        name, limit = "", time.monotonic() + 30
        while not name and time.monotonic() < limit:
            items = self.katib.list_trials("slow")
            running = [
                t
                for t in items
                if t.status and any(c.type == "Running" and c.status == "True" for c in t.status.conditions or [])
            ]
            name = running[0].metadata.name if running else ""
            time.sleep(0.05)
        text = "\n".join(self.katib.get_job_logs("slow", trial_name=name, follow=True))
        assert "tick 0" in text, text
        assert "tick 4" in text, text
        self.katib.wait_for_experiment_condition("slow", timeout=60, polling_interval=1)

    def budget(self):
        self.katib.edit_experiment_budget("sdk", max_trial_count=5)
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            found = self.katib.get_experiment("sdk")
            if (
                found.spec.max_trial_count == 5
                and self.katib.is_experiment_succeeded("sdk")
                and found.status.trials_succeeded == 5
            ):
                return
            time.sleep(0.2)
        raise AssertionError(found.status)

    def guide(self):
        """What the guide shows to users runs as it stands there."""
        done = runpy.run_path(GUIDE)
        assert 0 <= float(done["best"].observation.metrics[0].min) < 0.5
        self.katib.delete_experiment("tuned", namespace="default")
        limit = time.monotonic() + 30
        while any(item.metadata.name == "tuned" for item in self.katib.list_experiments()):
            assert time.monotonic() < limit
            time.sleep(0.1)

    def tune(self):
        def objective(parameters):
            x = float(parameters["x"])
            import os

            print(f"loss={(x - 0.3) ** 2 + parameters['base'] + (os.environ['COLOUR'] != 'green')}")

        self.katib.tune(
            name="tuned", objective=objective, parameters={"x": search.double(min=0, max=1), "base": 1},
            objective_metric_name="loss", objective_type="minimize", max_trial_count=2, parallel_trial_count=2,
            env_per_trial={"COLOUR": "green"}, resources_per_trial={"cpu": "1"}, namespace="default",
        )  # fmt: skip
        self.katib.wait_for_experiment_condition("tuned", timeout=60, polling_interval=1)
        best = self.katib.get_optimal_hyperparameters("tuned")
        assert 1 <= float(best.observation.metrics[0].min) < 1.5

    def push(self):
        """A trial reports by itself with the package's ``report_metrics``, as the guide shows it."""
        program = pathlib.Path(PUSH).read_text()
        body = plain(experiment("pushed", 1))
        body["spec"]["parallelTrialCount"] = 1
        body["spec"]["metricsCollectorSpec"] = {"collector": {"kind": "Push"}}
        # report_metrics reads the namespace file that a pod has; a mount of its own gives the trial one without touching the machine.
        script = (
            "mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io/serviceaccount"
            ' && printf default > /run/secrets/kubernetes.io/serviceaccount/namespace && exec "$@"'
        )
        command = ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", program, "${trialParameters.x}"]
        body["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["command"] = command
        self.katib.create_experiment(body, namespace="default")
        self.katib.wait_for_experiment_condition("pushed", timeout=60, polling_interval=1)
        best = self.katib.get_optimal_hyperparameters("pushed")
        assert best.observation.metrics[0].latest == "0.3"

    def delete(self):
        self.katib.delete_experiment("sdk", namespace="default")
        limit = time.monotonic() + 30
        while self.katib.list_trials("sdk") and time.monotonic() < limit:
            time.sleep(0.1)
        assert self.katib.list_trials("sdk") == []
        try:
            self.katib.get_experiment("sdk")
        except Exception as problem:
            assert "sdk" in str(problem)
        else:
            raise AssertionError("it is still there")

    def official_client(self):
        """The kubernetes package beside it: custom objects, core, batch, watch."""
        config.load_kube_config()
        custom, core, batch = k8s.CustomObjectsApi(), k8s.CoreV1Api(), k8s.BatchV1Api()
        core.create_namespaced_config_map(
            "default", k8s.V1ConfigMap(metadata=k8s.V1ObjectMeta(name="c"), data={"a": "1"})
        )
        assert core.read_namespaced_config_map("c", "default").data == {"a": "1"}
        assert any(item.metadata.name == "default" for item in core.list_namespace().items)
        pods = core.list_namespaced_pod("default", label_selector="katib.kubeflow.org/experiment=slow").items
        assert pods
        assert batch.list_namespaced_job("default").items is not None
        seen = []
        stream = watch.Watch()
        for event in stream.stream(
            custom.list_namespaced_custom_object, "kubeflow.org", "v1beta1", "default", "experiments", timeout_seconds=5
        ):
            seen.append(event["object"]["metadata"]["name"])
            if len(seen) == 2:
                stream.stop()
        assert len(seen) == 2
        try:
            custom.create_namespaced_custom_object(
                "kubeflow.org", "v1beta1", "default", "experiments",
                {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "bad"}, "spec": {"maxTrailCount": 1}},
            )  # fmt: skip
        except k8s.ApiException as problem:
            body = json.loads(problem.body)
            assert body["kind"] == "Status", body
            assert "maxTrialCount" in body["message"], body
        else:
            raise AssertionError("a typo was taken")


ORDER = (
    "create", "create_again", "wait", "get", "conditions", "optimal", "trials", "metrics", "logs", "logs_followed", "budget", "guide", "tune",
    "push", "official_client", "delete",
)  # fmt: skip


def main():
    steps = Steps()
    for name in ORDER:
        try:
            getattr(steps, name)()
            problem = ""
        except Exception:
            problem = traceback.format_exc()
        print("STEP " + json.dumps({"step": name, "problem": problem}), flush=True)


if __name__ == "__main__":
    main()

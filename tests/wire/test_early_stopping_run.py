"""Early stopping on real processes: every rule, every way in, and a real training that it shortens."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import rpc_strangers
from kuttab.api import trial
from wire import machines
from wire.shell import EXAMPLES, living, manifest, write

FIRST_GOOD = """
import os, sys, time
with open(sys.argv[2], "ab") as file:
    file.write(b".")
    good = file.tell() <= 3
for step in range(1, 9):
    print(f"loss={(0.5 if good else 2) + (0.5 / step if good else 0):.4f}", flush=True)
if not good:
    time.sleep(600)
"""
"""The first three trials are good and end; later ones do not improve, and hang until somebody ends them."""


async def run(tmp_path: Path, program: str, name: str, given: dict[str, str], **more: Any) -> Sequence[trial.Trial]:
    """Five trials, one after the other, with an early-stopping rule."""
    stopping = {"algorithmName": name, "algorithmSettings": [{"name": k, "value": v} for k, v in given.items()]}
    arguments = ["${trialParameters.x}", str(tmp_path / "starts")]
    more = {"maxTrialCount": 5, "parallelTrialCount": 1, "arguments": arguments, **more}
    document = manifest(program, earlyStopping=stopping, **more)
    where = machines.settings(
        tmp_path / "data", tmp_path / "config.yaml" if (tmp_path / "config.yaml").exists() else None
    )
    _, trials = await machines.run(where, document)
    return trials


def ends(trials: Sequence[trial.Trial]) -> str:
    """S for Succeeded, E for EarlyStopped, in the order of the slots."""
    return "".join(machines.last(item)[0] for item in trials)


def latest(item: trial.Trial) -> str:
    """The latest loss in a trial's observation."""
    assert item.status.observation is not None
    return (item.status.observation.metrics or ())[0].latest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("medianstop", {"min_trials_required": "3", "start_step": "4"}),
        ("percentile", {"min_trials_required": "3", "start_step": "4"}),
        ("threshold", {"target": "1.5", "start_step": "2"}),
        ("threshold", {"limit": "1.9"}),
        ("patience", {"patience": "3"}),
        ("asha", {"min_resource": "2", "eta": "2"}),
    ],
    ids=["medianstop", "percentile", "threshold target", "threshold limit", "patience", "asha"],
)
async def test_every_rule_ends_a_process_that_would_hang(tmp_path: Path, name: str, given: dict[str, str]) -> None:
    """The good trials succeed; each later one is EarlyStopped, with what it had reported as its observation."""
    trials = await run(tmp_path, FIRST_GOOD, name, given)
    assert ends(trials) == "SSSEE"
    assert [latest(item) for item in trials[3:]] == ["2.0000", "2.0000"]
    assert all(item.status.completion_time for item in trials)
    assert living(str(tmp_path / "starts")) == []


PATIENT = """
import time
import kuttab

def objective(p):
    for step in range(1, 9 if p["x"] < 0.5 else 10_000):
        kuttab.report(loss=1 / step if p["x"] < 0.5 else 2.0)
        time.sleep(0.05 if p["x"] >= 0.5 else 0)

if __name__ == "__main__":
    found = kuttab.tune(
        objective, {"x": kuttab.search.double(0, 1)}, objective_metric="loss", direction="minimize", algorithm="sobol",
        max_trials=4, parallel=1, early_stopping={"name": "patience", "patience": 3}, data=DATA, progress=False,
    )
    for one in found.trials:
        assert one.state == ("EarlyStopped" if one.parameters["x"] >= 0.5 else "Succeeded"), one
        assert one.metrics["loss"] == (2 if one.parameters["x"] >= 0.5 else 1 / 8), one
"""


@pytest.mark.slow
def test_functions_are_judged_while_they_run_too(tmp_path: Path) -> None:
    """A rule that no bar can say ends a Python function that does not look, with what it had reported."""
    script = tmp_path / "patient.py"
    script.write_text(f"DATA = {str(tmp_path / 'data')!r}\n{PATIENT}")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
async def test_f14_a_stop_ends_the_whole_group_whatever_it_does(tmp_path: Path) -> None:
    """F14: several children, all deaf to SIGTERM, end with the trial, which is EarlyStopped once and keeps its last value."""
    program = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        time.sleep(600)
print("loss=3", flush=True)
print("loss=2.5", flush=True)
time.sleep(600)
"""
    trials = await run(tmp_path, program, "threshold", {"target": "1"}, maxTrialCount=1)
    assert ends(trials) == "E"
    assert latest(trials[0]) == "2.5"
    types = [item.type for item in trials[0].status.conditions or ()]
    assert types.count("EarlyStopped") == 1
    assert living(str(tmp_path / "starts")) == []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The test's folder with modules that protoc made of the contract's facts."""
    rpc_strangers.compiled(tmp_path)
    return tmp_path


PUSHING = """
import os, sys, time
sys.path.insert(0, os.path.dirname(sys.argv[2]))
import grpc, stranger_api_pb2 as pb, stranger_api_pb2_grpc as stubs
channel = grpc.insecure_channel(os.environ["KATIB_DB_MANAGER_ADDRESS"])
name = os.environ["KATIB_TRIAL_NAME"]
def report(loss, step):
    request = pb.ReportObservationLogRequest(trial_name=name)
    row = request.observation_log.metric_logs.add(time_stamp=f"2026-01-01T00:00:0{step}Z")
    row.metric.name, row.metric.value = "loss", loss
    stubs.DBManagerStub(channel).ReportObservationLog(request)
report("3", 1)
report("2.5", 2)
"""
PUSH = {"collector": {"kind": "Push"}}


@pytest.mark.slow
async def test_pushed_metrics_meet_the_rules_too(place: Path) -> None:
    """A program that reports over gRPC is stopped like one that prints."""
    program = PUSHING + "time.sleep(600)"
    trials = await run(
        place, program, "threshold", {"target": "1", "start_step": "2"}, maxTrialCount=1, metricsCollectorSpec=PUSH
    )
    assert ends(trials) == "E"
    assert latest(trials[0]) == "2.5"


@pytest.mark.slow
async def test_set_trial_status_is_honoured_for_the_caller_only(place: Path) -> None:
    """A trial with its own token is stopped at its request; without it, or with another's, the call is refused and nothing happens."""
    program = (
        PUSHING
        + """
stop = stubs.EarlyStoppingStub(channel).SetTrialStatus
def code(trial_name, token):
    try:
        stop(pb.SetTrialStatusRequest(trial_name=trial_name), metadata=token and [("kuttab-trial-token", token)])
    except grpc.RpcError as error:
        return error.code().name
    return "OK"
own = os.environ["KUTTAB_TRIAL_TOKEN"]
print(code(name, None), code(name, "0" * 64), code("nobody", own), flush=True)
print(code(name, own), flush=True)
time.sleep(600)
"""
    )
    trials = await run(place, program, "threshold", {"target": "9"}, maxTrialCount=1, metricsCollectorSpec=PUSH)
    assert ends(trials) == "E"
    assert latest(trials[0]) == "2.5"
    (log,) = (place / "data" / "trials").rglob("main.log")
    told = log.read_text().split()
    assert told[:3] == ["PERMISSION_DENIED", "PERMISSION_DENIED", "NOT_FOUND"]
    assert told[3:] in ([], ["OK"]), "the program may be ended before it has said that its own call went well"


@pytest.mark.slow
async def test_a_service_of_ones_own_gives_the_rules(place: Path) -> None:
    """A stranger's early-stopping service is started, validated, asked with an address to read metrics from, and ended."""
    service = ["python3", str(Path(__file__).with_name("stranger_stopping.py")), str(place)]
    entry = {"algorithmName": "worst", "command": service}
    document = {
        "apiVersion": "config.kubeflow.org/v1beta1",
        "kind": "KatibConfig",
        "runtime": {"earlyStoppings": [entry]},
    }
    write(place, document, "config.yaml")
    trials = await run(place, FIRST_GOOD, "worst", {"word": "please"})
    assert ends(trials) == "SSSEE"
    (rule,) = trials[4].spec.early_stopping_rules or ()
    assert (rule.value, rule.comparison, rule.start_step) == ("1.0", "greater", 2)
    assert living(str(place)) == []


@pytest.mark.slow
async def test_a_service_of_ones_own_may_refuse(place: Path) -> None:
    """Settings that a stranger's early-stopping service refuses end the experiment with its words."""
    service = ["python3", str(Path(__file__).with_name("stranger_stopping.py")), str(place)]
    entry = {"algorithmName": "worst", "command": service}
    document = {
        "apiVersion": "config.kubeflow.org/v1beta1",
        "kind": "KatibConfig",
        "runtime": {"earlyStoppings": [entry]},
    }
    where = machines.settings(place / "data", write(place, document, "config.yaml"))
    ended, trials = await machines.run(where, manifest("", earlyStopping={"algorithmName": "worst"}))
    assert machines.last(ended) == "Failed"
    assert "say please" in machines.message(ended)
    assert trials == []


@pytest.mark.slow
async def test_the_example_saves_a_third_of_its_epochs(tmp_path: Path) -> None:
    """[acceptance 4] A real training loop: at least a third of all epochs is saved, and the best trial is no worse than without."""
    document = yaml.safe_load((EXAMPLES / "early-stopping.yaml").read_text())
    document["metadata"]["namespace"] = "default"
    (container,) = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"]
    container["workingDir"] = str(EXAMPLES)
    ended, trials = await machines.run(machines.settings(tmp_path / "data"), document)
    assert machines.last(ended) == "Succeeded"
    epochs = [len(re.findall("epoch=", log.read_text())) for log in (tmp_path / "data" / "trials").rglob("*.log")]
    assert len(epochs) == len(trials) == 20
    assert sum(epochs) <= 20 * 40 * 2 / 3
    best = ended.status.current_optimal_trial
    assert best is not None
    assert float((best.observation.metrics or ())[0].max) == 1.0, "which no trial could exceed by going on"

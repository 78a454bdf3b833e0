"""The shipped services run, survive kill -9 in the middle with the exact budget, and our own commands answer strangers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

import rpc_strangers
from kuttab.algorithms.stopping import rule
from wire import machines
from wire.shell import EXAMPLES, Shell, living

CASES = {
    "custom_service": ("config.yaml", ""),
    "foreign_service": ("config.yaml", ""),
    "foreign_service, form of 2020": ("katib-config-2020.yaml", "images.yaml"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
async def test_an_example_whose_service_is_killed_ends_exactly(tmp_path: Path, case: str) -> None:
    """[acceptance 1] With kill -9 of the service in the middle, twice, every slot is filled once by a trial that succeeded."""
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLES / case.partition(",")[0], folder)
    file, images = CASES[case]
    more = {"images": yaml.safe_load((folder / images).read_text())} if images else {}
    where = machines.settings(tmp_path / "data", folder / file, **more)
    document = yaml.safe_load((folder / "experiment.yaml").read_text())
    document["metadata"]["namespace"] = "default"
    async with machines.started(where, document) as (world, subject):
        for trials in (3, 8):
            await machines.until(lambda: len(list(where.trials.glob("default/*"))) >= trials)  # noqa: B023
            for pid in services(folder):
                os.kill(pid, signal.SIGKILL)
        ended = await machines.finish(world, subject)
        found = await machines.trials(world, ended)
    assert machines.last(ended) == "Succeeded"
    assert [int(item.metadata.annotation("kuttab.org/slot")) for item in found] == list(range(16))
    assert {machines.last(item) for item in found} == {"Succeeded"}
    assert services(folder) == []


def services(folder: Path) -> list[int]:
    """Processes that were started in a folder."""
    found = []
    for pid in living(".py"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(pid)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
def test_an_example_runs_as_its_comment_says(tmp_path: Path, case: str) -> None:
    """The command in the configuration's first lines works as it is written."""
    folder = EXAMPLES / case.partition(",")[0]
    file, images = CASES[case]
    options = ["--config", folder / file, *(["--images", folder / images] if images else [])]
    done = Shell(tmp_path / "data")("run", folder / "experiment.yaml", *options)
    assert done.code == 0, done.out + done.err
    assert done.out.count("Succeeded") >= 16


@contextlib.contextmanager
def serving(tmp_path: Path, *arguments: str, stop: list[Callable[[], None]] | None = None) -> Iterator[str]:
    """One of our own services as a process; its address. It must end in order when it is told to, which ``stop`` can do."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kuttab", *arguments, "--port", "0"],
        env={**os.environ, "KUTTAB_HOME": str(tmp_path / "data")}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:")
        if stop is not None:
            stop.append(process.terminate)
        yield line.split()[-1]
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Messages and stubs that protoc made of the contract's facts."""
    return rpc_strangers.compiled(tmp_path_factory.mktemp("stranger"))


def search(pb: Any, algorithm: str) -> Any:
    """An experiment over one number."""
    made = pb.Experiment(name="search")
    made.spec.objective.type = pb.MINIMIZE
    made.spec.objective.objective_metric_name = "loss"
    made.spec.algorithm.algorithm_name = algorithm
    parameter = made.spec.parameter_specs.parameters.add(name="x", parameter_type=pb.DOUBLE)
    parameter.feasible_space.min, parameter.feasible_space.max = "0", "1"
    return made


@pytest.mark.slow
def test_kuttab_suggestion_answers_strangers(tmp_path: Path, stranger: tuple[Any, Any]) -> None:
    """[acceptance 2] A client that knows only the contract's facts validates, asks in the old and the new form, and probes health."""
    pb, stubs = stranger
    with serving(tmp_path, "suggestion") as address, grpc.insecure_channel(address) as channel:
        stub = stubs.SuggestionStub(channel)
        for algorithm in ("random", "tpe", "sobol"):
            subject = search(pb, algorithm)
            stub.ValidateAlgorithmSettings(pb.ValidateAlgorithmSettingsRequest(experiment=subject))
            request = pb.GetSuggestionsRequest(experiment=subject, current_request_number=3, total_request_number=3)
            assert len(stub.GetSuggestions(request).parameter_assignments) == 3
        old = pb.GetSuggestionsRequest(experiment=search(pb, "random")).SerializeToString() + b"\x18\x02"
        ask = channel.unary_unary("/api.v1.beta1.Suggestion/GetSuggestions", None, pb.GetSuggestionsReply.FromString)
        assert len(ask(old).parameter_assignments) == 2
        check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        assert check(b"\n\x1amanager.v1beta1.Suggestion") == b"\x08\x01"


@pytest.mark.slow
def test_a_call_that_runs_is_answered_before_the_end(tmp_path: Path, stranger: tuple[Any, Any]) -> None:
    """SIGTERM drains: what was asked before it is answered whole, what comes after it is refused."""
    pb, stubs = stranger
    stop: list[Callable[[], None]] = []
    with serving(tmp_path, "suggestion", stop=stop) as address, grpc.insecure_channel(address) as channel:
        stub = stubs.SuggestionStub(channel)
        request = pb.GetSuggestionsRequest(experiment=search(pb, "tpe"), current_request_number=1)
        stub.GetSuggestions(request)
        request.current_request_number = 300
        asked = stub.GetSuggestions.future(request)
        health = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        health(b"\n\x1amanager.v1beta1.Suggestion")  # by now the first call has been taken
        stop[0]()
        assert len(asked.result(timeout=60).parameter_assignments) == 300


@pytest.mark.slow
def test_kuttab_early_stopping_reads_from_kuttab_db_manager(tmp_path: Path, stranger: tuple[Any, Any]) -> None:
    """Curves reported to our db-manager become rules of our early-stopping service, all over the contract; strangers stop nothing."""
    pb, stubs = stranger
    with (
        serving(tmp_path, "db-manager") as log_address,
        serving(tmp_path, "early-stopping") as address,
        grpc.insecure_channel(log_address) as log_channel,
        grpc.insecure_channel(address) as channel,
    ):
        log, stopping = stubs.DBManagerStub(log_channel), stubs.EarlyStoppingStub(channel)
        subject = search(pb, "random")
        subject.spec.early_stopping.algorithm_name = "medianstop"
        subject.spec.early_stopping.algorithm_settings.add(name="start_step", value="2")
        request = pb.GetEarlyStoppingRulesRequest(experiment=subject, db_manager_address=log_address)
        for number in range(3):
            name = f"search-{number}"
            report = pb.ReportObservationLogRequest(trial_name=name)
            for step in range(4):
                row = report.observation_log.metric_logs.add(time_stamp=f"2026-01-01T00:00:0{step}Z")
                row.metric.name, row.metric.value = "loss", str(number + step)
            log.ReportObservationLog(report)
            item = request.trials.add(name=name)
            item.status.condition = pb.TrialStatus.SUCCEEDED
            item.status.observation.metrics.add(name="loss", value=str(number))
        assert (
            len(log.GetObservationLog(pb.GetObservationLogRequest(trial_name="search-1")).observation_log.metric_logs)
            == 4
        )
        (found,) = stopping.GetEarlyStoppingRules(request).early_stopping_rules
        assert (found.name, found.comparison, found.start_step, float(found.value)) == ("loss", pb.GREATER, 2, 1.5)
        for name in rule.names():
            spec = pb.EarlyStoppingSpec(algorithm_name=name)
            if name != "threshold":
                stopping.ValidateEarlyStoppingSettings(pb.ValidateEarlyStoppingSettingsRequest(early_stopping=spec))
        with pytest.raises(grpc.RpcError) as refused:
            stopping.SetTrialStatus(pb.SetTrialStatusRequest(trial_name="search-1"))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.slow
def test_a_port_that_is_none_is_told(tmp_path: Path) -> None:
    """The contract's variable is read, and what is wrong with it is said."""
    environment = {**os.environ, "KUTTAB_HOME": str(tmp_path), "KATIB_SUGGESTION_PORT": "0x1"}
    done = subprocess.run(
        [sys.executable, "-m", "kuttab", "suggestion"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "KATIB_SUGGESTION_PORT" in done.stderr

"""``kuttab serve`` as a process: access, files, restart, orderly end, db-manager."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2 as httpx
import pytest
import yaml

from wire import served, shell

pytestmark = pytest.mark.slow

EXPERIMENTS = "/apis/kubeflow.org/v1beta1/namespaces/default/experiments"
TRIALS = "/apis/kubeflow.org/v1beta1/namespaces/default/trials"
PROGRAM = "import sys; print(f'loss={float(sys.argv[1])}')"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.Server]:
    """One server for the tests that do not stop it."""
    with served.running(tmp_path_factory.mktemp("serve") / "data") as found:
        yield found


def wait_for(http: httpx.Client, name: str, condition: str) -> Any:
    """Watch an experiment until it has a condition."""
    query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "60"}
    with http.stream("GET", EXPERIMENTS, params=query) as answer:
        for line in answer.iter_lines():
            found = json.loads(line)["object"]
            conditions = {item["type"]: item["status"] for item in found.get("status", {}).get("conditions", ())}
            if conditions.get(condition) == "True":
                return found
    raise AssertionError(f"{name} did not become {condition}")


def test_files_are_their_users_alone(server: served.Server) -> None:
    """Token and kubeconfig are made at the first start, readable by their user alone."""
    data = Path(server.said["data"])
    for path in (Path(server.said["tokenFile"]), server.kubeconfig):
        assert path.parent == data
        assert path.stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o077 == 0
    assert server.said["url"].startswith("http://127.0.0.1:")


def test_an_experiment_runs(server: served.Server) -> None:
    """An experiment that is posted runs to its end, and its trials' pods and logs can be read."""
    document = shell.manifest(PROGRAM, name="posted")
    assert server.http.post(EXPERIMENTS, json=document).status_code == 201
    found = wait_for(server.http, "posted", "Succeeded")
    assert found["status"]["trialsSucceeded"] == 2
    trials = server.http.get(TRIALS, params={"labelSelector": "katib.kubeflow.org/experiment=posted"}).json()["items"]
    assert len(trials) == 2


def test_pods_can_be_read_while_they_run(server: served.Server) -> None:
    """A running trial's pod carries Katib's label, and its log is followed by Katib's container name too."""
    program = (
        "import sys,time; print('loss=1', flush=True); sys.stdin.read() if False else time.sleep(3); print('loss=0.5')"
    )
    document = shell.manifest(program, name="followed", maxTrialCount=1, parallelTrialCount=1)
    assert server.http.post(EXPERIMENTS, json=document).status_code == 201
    pods = "/api/v1/namespaces/default/pods"
    pod = ""
    query = {"watch": "true", "labelSelector": "katib.kubeflow.org/trial", "timeoutSeconds": "60"}
    with server.http.stream("GET", pods, params=query) as answer:
        for line in answer.iter_lines():
            found = json.loads(line)["object"]
            if found.get("status", {}).get("phase") == "Running":
                pod = found["metadata"]["name"]
                break
    path = f"{pods}/{pod}/log"
    text = server.http.get(path, params={"follow": "true", "container": "metrics-logger-and-collector"}).text
    assert text == "loss=1\nloss=0.5\n"


def test_db_manager_speaks_katibs_grpc(server: served.Server) -> None:
    """The observation log is served with health; unknown trials and broken messages get codes with a sentence."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from kuttab.rpc import messages

    document = shell.manifest(PROGRAM, name="measured", maxTrialCount=1, parallelTrialCount=1)
    assert server.http.post(EXPERIMENTS, json=document).status_code == 201
    wait_for(server.http, "measured", "Succeeded")
    name = server.http.get(TRIALS, params={"labelSelector": "katib.kubeflow.org/experiment=measured"}).json()["items"][
        0
    ]
    with grpc.insecure_channel(server.said["dbManager"]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
        call = channel.unary_unary(
            "/api.v1.beta1.DBManager/GetObservationLog",
            request_serializer=messages.GetObservationLogRequest.SerializeToString,
            response_deserializer=messages.GetObservationLogReply.FromString,
        )
        reply = call(messages.GetObservationLogRequest(trial_name=name["metadata"]["name"]), timeout=20)
        assert [row.metric.name for row in reply.observation_log.metric_logs] == ["loss"]
        with pytest.raises(grpc.RpcError) as caught:
            call(messages.GetObservationLogRequest(trial_name="nobody"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        raw = channel.unary_unary("/api.v1.beta1.DBManager/ReportObservationLog")
        with pytest.raises(grpc.RpcError) as caught:
            raw(b"\xff\xff\xff", timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_second_owner_is_refused(server: served.Server) -> None:
    """One process owns a data folder; another is told who."""
    other = served.start(Path(server.said["data"]))
    code, err = served.finish(other)
    assert code == 2
    assert str(server.process.pid) in err


def test_a_port_in_use_is_said(server: served.Server, tmp_path: Path) -> None:
    """A taken port ends the start with the option that helps."""
    taken = server.said["url"].rpartition(":")[2]
    for option, port in (("--port", taken), ("--db-manager-port", server.said["dbManager"].rpartition(":")[2])):
        other = served.start(tmp_path / option, option, port)
        code, err = served.finish(other)
        assert code == 1
        assert option in err
        assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(tmp_path: Path, number: signal.Signals) -> None:
    """An order to stop ends open watches in order, keeps the state, and exits 0; token and objects are there at the next start."""
    data = tmp_path / "data"
    body = {"metadata": {"name": "kept"}, "data": {"a": "b"}}
    ends: list[str] = []
    with served.running(data) as server:
        assert server.http.post("/api/v1/namespaces/default/configmaps", json=body).status_code == 201
        ready = threading.Event()

        def watch() -> None:
            with server.http.stream("GET", "/api/v1/namespaces/default/configmaps?watch=true") as answer:
                for line in answer.iter_lines():
                    ends.append(line)
                    ready.set()
            ends.append("end")

        thread = threading.Thread(target=watch)
        thread.start()
        assert ready.wait(served.PATIENCE)
        code, err = server.stop(number)
        thread.join(served.PATIENCE)
        assert (code, err) == (0, "")
        assert ends[-1] == "end"
        token = Path(server.said["tokenFile"]).read_text()
    with served.running(data) as server:
        assert Path(server.said["tokenFile"]).read_text() == token
        assert server.http.get("/api/v1/namespaces/default/configmaps/kept").json()["data"] == {"a": "b"}


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """Nothing that was answered is lost by kill -9."""
    data = tmp_path / "data"
    with served.running(data) as server:
        for number in range(20):
            body = {"metadata": {"name": f"m{number}"}}
            assert server.http.post("/api/v1/namespaces/default/configmaps", json=body).status_code == 201
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
    with served.running(data) as server:
        assert len(server.http.get("/api/v1/namespaces/default/configmaps").json()["items"]) == 20


def test_the_kubeconfig_goes_where_it_is_wanted(tmp_path: Path) -> None:
    """--kubeconfig names the file; one that holds other clusters is left alone."""
    wanted = tmp_path / "sub" / "config"
    with served.running(tmp_path / "data", "--kubeconfig", wanted) as server:
        assert server.kubeconfig == wanted
        config = yaml.safe_load(wanted.read_text())
        assert config["current-context"] == "kuttab"
    others = tmp_path / "others"
    text = yaml.safe_dump({"clusters": [{"name": "production", "cluster": {}}]})
    others.write_text(text)
    process = served.start(tmp_path / "data", "--kubeconfig", others)
    code, err = served.finish(process)
    assert code == 2
    assert "production" in err
    assert others.read_text() == text


def test_tls(tmp_path: Path) -> None:
    """With --tls the certificate is signed by an authority that only the kubeconfig names; keys are their user's alone."""
    pytest.importorskip("cryptography", reason="the extra tls is not installed")
    process = served.start(tmp_path / "data", "--tls")
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["url"].startswith("https://")
        token = Path(said["tokenFile"]).read_text().strip()
        context = ssl.create_default_context(cafile=str(tmp_path / "data" / "tls" / "ca.crt"))
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=said["url"], verify=context, headers=headers, timeout=served.PATIENCE) as http:
            assert http.get("/version").status_code == 200
        with httpx.Client(base_url=said["url"], timeout=served.PATIENCE) as http, pytest.raises(httpx.ConnectError):
            http.get("/version")
        config = yaml.safe_load(Path(said["kubeconfig"]).read_text())
        assert "@" not in config["clusters"][0]["cluster"]["server"]
        for key in (tmp_path / "data" / "tls").glob("*.key"):
            assert key.stat().st_mode & 0o777 == 0o600
    finally:
        process.terminate()
        served.finish(process)


@pytest.mark.parametrize("broken", ["", "short", "two words here and more\n"])
def test_a_broken_token_is_not_used(tmp_path: Path, broken: str) -> None:
    """A token file that holds no token stops the start and is left as it is."""
    data = tmp_path / "data"
    data.mkdir(0o700)
    path = data / "token"
    path.write_text(broken)
    path.chmod(0o600)
    process = served.start(data)
    code, err = served.finish(process)
    assert code == 2
    assert "token" in err
    assert path.read_text() == broken


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    """A token that is readable by others is no secret: the start says what to do."""
    data = tmp_path / "data"
    data.mkdir(0o700)
    path = data / "token"
    path.write_text("x" * 40)
    path.chmod(0o644)
    process = served.start(data)
    code, err = served.finish(process)
    assert code == 2
    assert "chmod 600" in err


def test_the_announcement(tmp_path: Path) -> None:
    """People get the address and the line that lets kubectl find it."""
    process = subprocess.Popen(
        [shell.sys.executable, "-m", "kuttab", "serve", "--data", str(tmp_path / "with space"), "--port", "0", "--db-manager-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first, second = process.stdout.readline().decode(), process.stdout.readline().decode()
        assert first.startswith("serving http://127.0.0.1:")
        assert second == f"export KUBECONFIG='{tmp_path / 'with space' / 'kubeconfig'}'\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        process.communicate(timeout=served.PATIENCE)

"""Every kind of metrics collector, through the whole machine, on real processes."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

import rpc_strangers
from kuttab.api import trial
from wire import machines
from wire.shell import manifest

TEXT = "import sys; open(sys.argv[2], 'w').write(f'epoch=1 loss=0.9\\nloss={sys.argv[1]}\\n')"
JSON = """
import json, sys
with open(sys.argv[2], "w") as file:
    for step, loss in enumerate(("0.9", sys.argv[1])):
        print(json.dumps({"loss": loss, "timestamp": 1_700_000_000.5 + step, "global_step": str(step)}), file=file)
"""
EVENTS = """
import os, struct, sys
def crc(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)
def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data
def record(data):
    length = struct.pack("<Q", len(data))
    return length + crc(length) + data + crc(data)
os.makedirs(sys.argv[2], exist_ok=True)
with open(sys.argv[2] + "/events.out.tfevents.1", "wb") as file:
    for step, loss in enumerate((0.9, float(sys.argv[1]))):
        value = field(1, b"loss") + b"\\x15" + struct.pack("<f", loss)
        file.write(record(b"\\x09" + struct.pack("<d", 1_700_000_000 + step) + bytes([2 << 3, step]) + field(5, field(1, value))))
"""
PAGE = """
import http.server, sys, threading, time
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"# TYPE loss gauge\\nloss {sys.argv[1]}\\n".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_):
        asked.set()
asked = threading.Event()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
asked.wait(30); time.sleep(0.1)
"""
REPORT = """
import os, sys
sys.path.insert(0, sys.argv[2])
import grpc, stranger_api_pb2 as pb, stranger_api_pb2_grpc as stubs
def report(address, losses):
    request = pb.ReportObservationLogRequest(trial_name=os.environ["KATIB_TRIAL_NAME"])
    for step, loss in enumerate(losses):
        row = request.observation_log.metric_logs.add(time_stamp=f"2026-01-01T00:00:0{step}Z")
        row.metric.name, row.metric.value = "loss", loss
    with grpc.insecure_channel(address) as channel:
        stubs.DBManagerStub(channel).ReportObservationLog(request)
"""
PUSH = (
    REPORT
    + """
assert os.environ["KATIB_DB_MANAGER_SERVICE_NAMESPACE"] == ""
report(os.environ["KATIB_DB_MANAGER_SERVICE_IP"] + ":" + os.environ["KATIB_DB_MANAGER_SERVICE_PORT"], ["0.9", sys.argv[1]])
"""
)
CUSTOM = (
    REPORT
    + """
import time
while not os.path.exists(sys.argv[4]):
    time.sleep(0.02)
report(sys.argv[3], ["0.9", open(sys.argv[4]).read()])
"""
)


def collector(kind: str, path: str = "", of: str = "", format: str = "", **more: Any) -> dict[str, Any]:
    """A metricsCollectorSpec."""
    made: dict[str, Any] = {"collector": {"kind": kind, **more}}
    if path:
        place = {"path": path, "kind": of, **({"format": format} if format else {})}
        made["source"] = {"fileSystemPath": place}
    return made


async def run(
    tmp_path: Path, program: str, spec: dict[str, Any], *arguments: str, **more: Any
) -> Sequence[trial.Trial]:
    """Run two trials, one at a time, to their end."""
    more = {"metricsCollectorSpec": spec, "parallelTrialCount": 1, **more}
    document = manifest(program, arguments=["${trialParameters.x}", *arguments], **more)
    _, trials = await machines.run(machines.settings(tmp_path / "data"), document)
    return trials


def assert_measured(trials: Sequence[trial.Trial], *, exact: bool = True, highest: str = "0.9") -> None:
    """Every trial succeeded, with the value that it was to report as the latest one."""
    assert len(trials) == 2
    for item in trials:
        assert machines.last(item) == "Succeeded", machines.message(item)
        assert item.status.observation is not None
        (metric,) = item.status.observation.metrics or ()
        (x,) = item.spec.parameter_assignments or ()
        assert float(metric.latest) == pytest.approx(float(x.value), rel=1e-6)
        assert not exact or metric.latest == x.value
        assert not highest or float(metric.max) == pytest.approx(max(float(highest), float(x.value)), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "spec", "path"),
    [
        (TEXT, collector("File", "/logs/metrics.log", "File"), "/logs/metrics.log"),
        (JSON, collector("File", "/logs/metrics.json", "File", "JSON"), "/logs/metrics.json"),
        (EVENTS, collector("TensorFlowEvent", "/train/events", "Directory"), "/train/events/run"),
    ],
    ids=["File TEXT", "File JSON", "TensorFlowEvent"],
)
async def test_files_are_read(tmp_path: Path, program: str, spec: dict[str, Any], path: str) -> None:
    """What a program writes where it is told is its observation, every row of it; no library, no TensorFlow."""
    trials = await run(tmp_path, program, spec, path)
    assert_measured(trials, exact=program != EVENTS)


@pytest.mark.slow
async def test_output_is_read(tmp_path: Path) -> None:
    """StdOut: the program's output, with no collector given at all."""
    trials = await run(tmp_path, "import sys; print('loss=0.9'); print(f'loss={sys.argv[1]}')", collector("StdOut"))
    assert_measured(trials)


@pytest.mark.slow
async def test_a_page_is_scraped(tmp_path: Path) -> None:
    """PrometheusMetric: the program's own page on its port, while it runs."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    spec = {"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"port": port, "path": "/metrics"}}}
    assert_measured(await run(tmp_path, PAGE, spec, str(port)), highest="")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with modules that protoc made of the contract's facts."""
    folder = tmp_path_factory.mktemp("stubs")
    rpc_strangers.compiled(folder)
    return folder


@pytest.mark.slow
async def test_metrics_are_pushed(tmp_path: Path, stubs: Path) -> None:
    """Push: a program with the contract's facts alone reports to the address in its environment."""
    assert_measured(await run(tmp_path, PUSH, collector("Push"), str(stubs)))


@pytest.mark.slow
async def test_a_custom_collector_runs_beside_the_trial(tmp_path: Path, stubs: Path) -> None:
    """Custom: the user's container reads what the trial wrote and reports it to Katib's address, for which this runtime's stands."""
    container = {
        "name": "reader", "image": "reader",
        "command": ["python3", "-c", CUSTOM, "-", str(stubs), "katib-db-manager.kubeflow:6789", "/logs/loss"],
    }  # fmt: skip
    spec = collector("Custom", "/logs/loss", "File", customCollector=container)
    program = (
        "import os, sys; open(sys.argv[2] + '~', 'w').write(sys.argv[1]); os.rename(sys.argv[2] + '~', sys.argv[2])"
    )
    assert_measured(await run(tmp_path, program, spec, "/logs/loss"))


@pytest.mark.slow
async def test_a_trial_that_pushes_nothing_has_no_metrics(tmp_path: Path) -> None:
    """Push: a program that ends without a report is MetricsUnavailable at once, and says so."""
    trials = await run(tmp_path, "pass", collector("Push"), maxTrialCount=1)
    assert [machines.last(item) for item in trials] == ["MetricsUnavailable"]


@pytest.mark.slow
async def test_f16_a_forked_worker_may_push(tmp_path: Path, stubs: Path) -> None:
    """F16: a child that the program forks, as data loaders do, reports like the program itself."""
    program = "import os\nif child := os.fork():\n    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    assert_measured(await run(tmp_path, program + PUSH, collector("Push"), str(stubs)))


@pytest.mark.slow
@pytest.mark.parametrize(("code", "end"), [(0, "Succeeded"), (3, "Failed")])
async def test_f15_the_exit_status_is_the_truth(tmp_path: Path, code: int, end: str) -> None:
    """F15: marker files of Katib's wrapper, missing or wrong, say nothing; the program's own end does."""
    program = (
        "import os, sys; open(f'{sys.argv[2]}/{os.getppid()}.pid', 'w').write('early-stopped')\n"
        f"open(sys.argv[2] + '/metrics.log', 'w').write('loss=0.5\\n'); sys.exit({code})"
    )
    spec = collector("File", "/logs/metrics.log", "File")
    (item,) = await run(tmp_path, program, spec, "/logs", maxTrialCount=1)
    assert machines.last(item) == end


@pytest.mark.slow
async def test_f16_late_and_foreign_reports_are_turned_away(tmp_path: Path, stubs: Path) -> None:
    """F16: a report after the trial's end, for a trial that is none, or with another's token has a clear code and is not stored."""
    pb, services = rpc_strangers.compiled(stubs)
    where = machines.settings(tmp_path / "data")
    hold = tmp_path / "hold"
    program = PUSH + "import time\nwhile not os.path.exists(sys.argv[3]): time.sleep(0.02)\n"
    document = manifest(
        program, arguments=["${trialParameters.x}", str(stubs), str(hold)],
        metricsCollectorSpec=collector("Push"), maxTrialCount=1, parallelTrialCount=1,
    )  # fmt: skip
    async with machines.started(where, document) as (world, subject):
        log = await machines.until(lambda: next(iter(where.trials.glob("default/*/*")), None))
        name = log.parent.name
        address = await world.door.address()

        async def code(trial_name: str, token: str | None = None) -> grpc.StatusCode:
            request = pb.ReportObservationLogRequest(trial_name=trial_name)
            row = request.observation_log.metric_logs.add(time_stamp="2026-01-01T00:00:09Z")
            row.metric.name, row.metric.value = "loss", "-1"
            metadata = [("kuttab-trial-token", token)] if token is not None else None
            async with grpc.aio.insecure_channel(address) as channel:
                try:
                    await services.DBManagerStub(channel).ReportObservationLog(request, metadata=metadata)
                except grpc.aio.AioRpcError as error:
                    return error.code()
            return grpc.StatusCode.OK

        assert await code("nobody") is grpc.StatusCode.NOT_FOUND
        assert await code(name, "wrong") is grpc.StatusCode.PERMISSION_DENIED
        hold.touch()
        ended = await machines.finish(world, subject)
        assert await code(name) is grpc.StatusCode.PERMISSION_DENIED
        (item,) = await machines.trials(world, ended)
        assert item.status.observation is not None
        assert float((item.status.observation.metrics or ())[0].min) >= 0

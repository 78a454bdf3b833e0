"""Programs that report with ``curl``: the real command, real trials, real curl."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docs import pages
from kuttab.api import trial
from kuttab.ports import observations as port
from kuttab.wiring import machine, observing, reading
from kuttab.wiring import settings as settings_
from wire import machines, served
from wire.shell import ROOT, Shell, living, manifest, write

CURL = shutil.which("curl")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CURL is None, reason="curl is not installed")]

TRIES = """
from="$KUTTAB_REPORT_URL"
post() { curl -sS -w ' %{http_code}\\n' "$@"; }
for step in 1 2 2 3 3 3; do
    post "$from" -d step=$step -d loss=$step.0 -d acc=1e-$step --fail-with-body || exit 1
done
post "$from" --json '[{"step": 4, "loss": 0.25, "lr": 1}, {"step": 4, "loss": 0.250}]' --fail-with-body || exit 1
post "$from" -H 'Idempotency-Key: k' -d '{"loss": 7}' --fail-with-body || exit 1
post "$from" -H 'Idempotency-Key: k' -d '{"loss": 7}' --fail-with-body || exit 1
post "$from"
post "$from" -d step=1 -d loss=2
post "$from" -d loss=acc=9
post "$from" -d lossy=1
post "$from" -F loss=1
post -G "$from" -d loss=1
post "${from%??}00" -d loss=1
post "${from%/*}" -d loss=1
for to in "$from" "${from%??}00"; do
    head -c 3000000 /dev/zero | post "$to" --data-binary @-
    head -c 1000000 /dev/zero | post "$to" -H Expect: --data-binary @-
done
post -X DELETE "$from"
echo "loss=8" >> "$KUTTAB_REPORT_FILE"
"""
CODES = [200] * 10 + [409, 422, 422, 415, 400, 404, 404, 413, 400, 404, 404, 405]


def shell(script: str, **spec: Any) -> dict[str, Any]:
    """An experiment whose trials run a shell script."""
    made = manifest("", **spec)
    [container] = made["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"]
    container["command"] = ["sh", "-c", script, "trial", "${trialParameters.x}"]
    return made


async def stored(data: Path, name: str = "e") -> list[tuple[trial.Trial, list[tuple[str, str]]]]:
    """The trials of an experiment that has ended, and their rows."""
    where = settings_.Settings(data)
    async with machine.opened(where) as objects, observing.observations(where) as log:
        trials = await reading.trials_of(objects, await reading.experiment_of(objects, name, None))
        found = []
        for item in trials:
            rows = await log.read(port.TrialKey(item.uid, item.name, item.namespace))
            found.append((item, [(row.metric, row.value) for row in rows]))
        return found


@pytest.fixture
def kuttab(tmp_path: Path) -> Iterator[Shell]:
    """The program over a fresh data folder."""
    made = Shell(tmp_path / "data")
    yield made
    made.close()


async def test_a_shell_reports_each_value_once(kuttab: Shell, tmp_path: Path) -> None:
    """Forms, JSON, repetitions and a key give exactly their rows; every slip gets its code, and its answer is no metric."""
    goal = {"type": "minimize", "objectiveMetricName": "loss", "additionalMetricNames": ["acc"]}
    done = kuttab("run", write(tmp_path, shell(TRIES, objective=goal)), "--json")
    assert done.code == 0, done.err
    trials = await stored(kuttab.data)
    assert len(trials) == 2
    steps = [row for step in (1, 2, 3) for row in (("loss", f"{step}.0"), ("acc", f"1e-{step}"))]
    for item, rows in trials:
        assert rows == [*steps, ("loss", "0.25"), ("loss", "7"), ("loss", "8")]
        [log] = (kuttab.data / "trials").glob(f"*/{item.name}/*/main.log")
        codes = re.findall(r"^ (\d{3})$", log.read_text(), re.MULTILINE)
        assert [int(code) for code in codes] == CODES, log.read_text()
        said = [json.loads(line) for line in re.findall(r"^\{.*\}$", log.read_text(), re.MULTILINE)]
        assert len(said) == len(CODES)
        assert [one["stored"] for one in said if "stored" in one] == [2, 2, 0, 2, 0, 0, 1, 1, 0]
        assert said[6] == {"shouldStop": False, "stored": 1, "repeated": 1, "ignored": ["lr"]}


LOOP = """
trap '' TERM
step=0
while [ $step -lt 100 ]; do
    step=$((step + 1))
    answer=$(curl -fsS "$KUTTAB_REPORT_URL" -d step=$step -d loss=$step) || exit 1
    case $answer in *'"shouldStop":true'*) break ;; esac
done
curl -fsS "$KUTTAB_REPORT_URL" | grep -c '{"shouldStop":true}'
echo "left at $step"
"""


async def test_a_shell_loop_ends_by_itself_when_it_is_told(kuttab: Shell, tmp_path: Path) -> None:
    """The very answer to the report that meets a rule says so; the trial is EarlyStopped with exactly what it reported."""
    rule = {"algorithmName": "threshold", "algorithmSettings": [{"name": "limit", "value": "5"}]}
    done = kuttab("run", write(tmp_path, shell(LOOP, earlyStopping=rule)), "--json")
    assert done.code == 0, done.err
    for item, rows in await stored(kuttab.data):
        assert machines.last(item) == "EarlyStopped"
        assert rows == [("loss", str(step)) for step in range(1, 7)]
        [log] = (kuttab.data / "trials").glob(f"*/{item.name}/*/main.log")
        assert log.read_text().endswith("\n1\nleft at 6\n")


OUTLIVES = """
echo "$KUTTAB_REPORT_URL" >> FOLDER/urls
for step in 1 2; do curl -fsS "$KUTTAB_REPORT_URL" -d step=$step -d loss=$step || exit 1; done
touch FOLDER/reported
until [ -e FOLDER/go-$(wc -l < FOLDER/urls | tr -d " ") ]; do sleep 0.05; done
curl -sS --retry 100 --retry-delay 1 --retry-connrefused "$KUTTAB_REPORT_URL" -d step=3 -d loss=3
"""


async def test_a_kill_in_the_middle_leaves_each_value_once(kuttab: Shell, tmp_path: Path) -> None:
    """kill -9, then the same command: the program that was left trying is ended, a new attempt reports, its rows alone
    count; the address of the one before is over, on the same port."""
    script = OUTLIVES.replace("FOLDER", str(tmp_path))
    path = write(tmp_path, shell(script, maxTrialCount=1, parallelTrialCount=1))
    first = kuttab.start("run", path, "--json")
    await machines.until((tmp_path / "reported").exists)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    (tmp_path / "reported").unlink()
    (tmp_path / "go-1").touch()
    await machines.until(lambda: living((tmp_path / "urls").read_text().strip()))  # curl, which tries and tries
    second = kuttab.start("run", path, "--json")
    await machines.until((tmp_path / "reported").exists)
    old, new = (tmp_path / "urls").read_text().split()
    assert old != new
    assert old.partition("/report/")[0] == new.partition("/report/")[0]
    assert [code(old, "-d", "loss=9"), code(old), code(new), code(new, "-d", "step=1", "-d", "loss=1.0")] == [
        410, 410, 200, 200,
    ]  # fmt: skip
    (tmp_path / "go-2").touch()
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, out + err
    [(item, rows)] = await stored(kuttab.data)
    assert rows == [("loss", "1"), ("loss", "2"), ("loss", "3")]
    assert machines.last(item) == "Succeeded"
    assert living(str(tmp_path / "urls")) == []


def code(*arguments: str) -> int:
    """The code of the answer that curl gets."""
    assert CURL is not None
    done = subprocess.run(
        [CURL, "-s", "-o", os.devnull, "-w", "%{http_code}", *arguments], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    return int(done.stdout)


HELD = """
echo "$KUTTAB_REPORT_URL" > FOLDER/url
until [ -e FOLDER/go ]; do sleep 0.02; done
"""


async def forgetful(target: int, lose: int) -> tuple[asyncio.Server, Callable[[], int]]:
    """A proxy that hands requests on and loses the first answers."""
    seen = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        losing = seen <= lose
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        body = await reader.readexactly(length)
        there, back = await asyncio.open_connection("127.0.0.1", target)
        back.write(head + body)
        answer = await there.readuntil(b"\r\n\r\n")
        answer += await there.readexactly(int(re.findall(rb"content-length: (\d+)", answer)[0]))
        if not losing:
            writer.write(answer)
            await writer.drain()
        for one in (back, writer):
            one.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0), lambda: seen


async def test_an_answer_that_was_lost_does_not_double(tmp_path: Path) -> None:
    """When the answer is lost curl sends the report again; it is stored once, with a step and with a key."""
    script = HELD.replace("FOLDER", str(tmp_path))
    where = machines.settings(tmp_path / "data")
    document = shell(script, maxTrialCount=1, parallelTrialCount=1)
    async with machines.started(where, document) as (world, subject):
        url = (await machines.until(lambda: (tmp_path / "url").exists() and (tmp_path / "url").read_text())).strip()
        real = int(url.split(":")[2].partition("/")[0])
        for arguments in (["-d", "step=1", "-d", "loss=5"], ["-d", "loss=4", "-H", "Idempotency-Key: once"]):
            server, seen = await forgetful(real, 1)
            async with server:
                through = url.replace(f":{real}/", f":{server.sockets[0].getsockname()[1]}/")
                retry = ["--retry", "5", "--retry-delay", "1", "--retry-all-errors"]
                done = await asyncio.create_subprocess_exec(
                    str(CURL), "-fsS", *retry, through, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
                )  # fmt: skip
                out, _ = await done.communicate()
            assert (done.returncode, seen()) == (0, 2)
            assert json.loads(out) == {"shouldStop": False, "stored": 0, "repeated": 1}
        (tmp_path / "go").touch()
        await machines.finish(world, subject)
        [item] = await reading.trials_of(world.objects, subject)
        rows = await world.observations.read(port.TrialKey(item.uid, item.name, item.namespace))
    assert [(row.metric, row.value) for row in rows] == [("loss", "5"), ("loss", "4")]


async def test_trials_of_a_server_report_too(tmp_path: Path) -> None:
    """A trial that ``kuttab serve`` runs reports and is stopped in the same way."""
    rule = {"algorithmName": "threshold", "algorithmSettings": [{"name": "limit", "value": "5"}]}
    document = shell(LOOP, earlyStopping=rule, maxTrialCount=1, parallelTrialCount=1)
    with served.running(tmp_path / "data") as server:
        path = "/apis/kubeflow.org/v1beta1/namespaces/default"
        answer = server.http.post(f"{path}/experiments", json=document)
        assert answer.status_code == 201, answer.text

        def ended() -> Any:
            items = server.http.get(f"{path}/trials").json()["items"]
            return items and items[0].get("status", {}).get("completionTime") and items[0]

        found = await machines.until(ended)
        [metric] = found["status"]["observation"]["metrics"]
        assert (metric["name"], metric["min"], metric["latest"]) == ("loss", "1", "6")
        assert found["status"]["conditions"][-1]["type"] == "EarlyStopped"


async def test_the_guides_loop_is_a_trial(kuttab: Shell, tmp_path: Path) -> None:
    """The shell loop that the guide shows runs as it stands there."""
    guide = ROOT / "docs" / "guides" / "collectors.md"
    [script] = [
        block.text for block in pages.blocks(guide) if block.language == "sh" and "KUTTAB_REPORT_URL" in block.text
    ]
    goal = {"type": "maximize", "objectiveMetricName": "accuracy", "additionalMetricNames": ["loss"]}
    done = kuttab("run", write(tmp_path, shell(script, objective=goal)), "--json")
    assert done.code == 0, done.err
    for _, rows in await stored(kuttab.data):
        assert rows == [("accuracy", f"0.{step}") for step in (1, 2, 3, 4, 5)]

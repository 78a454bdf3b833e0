"""What following trials costs and how soon a stop reaches them: ``python benchmarks/collectors.py``.

Three figures, on the whole machine with real processes: CPU share of this process while 100 trials run and print nothing; MB per second of
CPU and of wall time when a large log is read through a collector's session; time from a report that meets a rule to SIGTERM in the program.
"""

import asyncio
import pathlib
import statistics
import tempfile
import time

from kuttab.admission import yaml
from kuttab.api import kinds
from kuttab.collector import lines, session, tail
from kuttab.observations import memory
from kuttab.ports import observations as port
from kuttab.rules import metric_lines
from kuttab.wiring import following, machine, manifests, settings

SILENT = 100
SECONDS = 20
STOPS = 20
REPORTER = """
import os, random, signal, sys, time
def told(*_):
    with open(sys.argv[1], "a") as file:
        file.write(f"{time.time() - reported}\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, told)
reported = float("nan")
time.sleep(random.random())
reported = time.time()
print("loss=2", flush=True)
time.sleep(60)
"""


def experiment(command, trials, parallel, **spec):
    container = {"name": "main", "image": "x", "command": command}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "e", "namespace": "default"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": parallel,
            "maxTrialCount": trials,
            "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}},
            },
            **spec,
        },
    }


async def submit(world, document):
    checked = manifests.check(manifests.Manifest("benchmark", [yaml.Document(document, "benchmark")]), world.settings)
    return await world.objects.create(checked.experiments[0])


async def idle(folder):
    command = ["sh", "-c", "echo x=${trialParameters.x} > /dev/null; exec sleep 600"]
    async with machine.running(settings.Settings(data=folder)) as world:
        await submit(world, experiment(command, SILENT, SILENT))
        while sum(c.status.trials_running for c in (await world.objects.list(kinds.EXPERIMENT)).items) < SILENT:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        await asyncio.sleep(3)
        before = time.process_time()
        await asyncio.sleep(SECONDS)
        return (time.process_time() - before) / SECONDS


async def reading(folder):
    log = folder / "log"
    block = b"step 123 of something, all is well and there is nothing to see here\n" * 2_000 + b"loss=0.5\n"
    log.write_bytes(block * 1500)
    source = lines.LineSource(
        tail.Tail(log, rewritable=False), lambda: metric_lines.LineReader(["loss"], [], "TEXT"), append_only=True
    )
    rows = session.Session(memory.MemoryObservations(), port.TrialKey("u", "t"), "pod", source)
    wall, cpu = time.perf_counter(), time.process_time()
    await rows.finish(clean=True)
    size = log.stat().st_size / 1e6
    return size / (time.process_time() - cpu), size / (time.perf_counter() - wall)


async def stops(folder):
    folder.mkdir()
    told = folder / "told"
    stopping = {"algorithmName": "threshold", "algorithmSettings": [{"name": "target", "value": "1"}]}
    command = ["python3", "-c", REPORTER, str(told), "${trialParameters.x}"]
    async with machine.running(settings.Settings(data=folder / "data")) as world:
        subject = await submit(world, experiment(command, STOPS, 2, earlyStopping=stopping))
        async for _ in following.follow(world, subject):
            pass
    return [float(line) for line in told.read_text().split()]


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        share = asyncio.run(idle(folder / "idle"))
        print(f"{SILENT} silent trials: {100 * share:.2f} % of a core, the whole control plane included")
        cpu, wall = asyncio.run(reading(folder))
        print(f"reading a printed log: {cpu:.0f} MB/s of CPU time, {wall:.0f} MB/s of wall time")
        delays = asyncio.run(stops(folder / "stops"))
        print(
            f"from report to SIGTERM, {len(delays)} stops: median {statistics.median(delays):.3f} s, worst {max(delays):.3f} s"
        )


if __name__ == "__main__":
    main()

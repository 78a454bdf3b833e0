"""What asking over gRPC adds to an algorithm's own time: ``python benchmarks/ask_over_grpc.py``.

One trial changes between two asks, as in a running experiment; client and service share one process and one loop, so the figure
holds both sides' work. Prints medians in milliseconds of wall time, and of CPU time for machines that are busy with other things.
"""

import asyncio
import random
import statistics
import time

from kuttab.algorithms import engine
from kuttab.api import experiment, history
from kuttab.ports import suggestion as port
from kuttab.rpc import servers, serving, suggestions
from kuttab.rules import ledger

ASKS = 40
NAMES = tuple(f"p{i}" for i in range(5))
SPACE = [{"name": n, "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}} for n in NAMES]


def subject(algorithm):
    spec = {
        "parameters": SPACE,
        "objective": {"type": "maximize", "objectiveMetricName": "acc"},
        "algorithm": {"algorithmName": algorithm},
    }
    return experiment.Experiment.load({"metadata": {"name": "e", "uid": "u"}, "spec": spec})


def record(slot, source):
    values = tuple(repr(source.random()) for _ in NAMES)
    metric = history.MetricValues("acc", values[0], values[0], values[0])
    now = "2026-01-01T00:00:00Z"
    done = history.TrialState.SUCCEEDED
    return history.TrialRecord(
        f"e-{slot}",
        f"u{slot}",
        slot,
        done,
        NAMES,
        values,
        float(values[0]),
        (metric,),
        start_time=now,
        completion_time=now,
    )


async def over_grpc(algorithm, size):
    source = random.Random(0)
    server = serving.Server([servers.SuggestionService().handler()])
    client = suggestions.GrpcSuggestions(f"127.0.0.1:{await server.start()}")
    trials = ledger.Ledger("u", maximize=True)
    for slot in range(size):
        trials.put(record(slot, source))
    asked = subject(algorithm)
    times = []
    for slot in range(size, size + ASKS):
        started = time.perf_counter(), time.process_time()
        await client.suggest(port.Request(asked, trials, slot, 1))
        times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
        trials.put(record(slot, source))
    await client.close()
    await server.stop(0)
    return middle(times)


def alone(algorithm, size):
    source = random.Random(0)
    session = engine.Session(subject(algorithm))
    session.update(record(slot, source) for slot in range(size))
    times = []
    for slot in range(size, size + ASKS):
        started = time.perf_counter(), time.process_time()
        session.propose(slot, 1)
        times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
        session.update([record(slot, source)])
    return middle(times)


def middle(times):
    return [statistics.median(column) * 1e3 for column in zip(*times[1:], strict=True)]


def main():
    for algorithm in ("random", "tpe"):
        for size in (100, 1000):
            (both, both_cpu), (own, own_cpu) = asyncio.run(over_grpc(algorithm, size)), alone(algorithm, size)
            print(
                f"{algorithm:8} {size:5} trials: {both:6.2f} ms over gRPC, {own:6.2f} ms alone, adds {both - own:6.2f} ms"
                f" ({both_cpu - own_cpu:.2f} ms of CPU)"
            )


if __name__ == "__main__":
    main()

"""Our services asked by strangers' stubs, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kuttab.algorithms import registry
from kuttab.api import experiment, history
from kuttab.base import errors
from kuttab.observations import memory
from kuttab.ports import observations as port
from kuttab.ports import suggestion as suggestion_port
from kuttab.rpc import dbmanager, messages, searches, servers, serving, suggestions
from kuttab.rules import ledger

SETTINGS: dict[str, dict[str, str]] = {
    "hyperband": {"r_l": "9", "resource_name": "epochs", "eta": "3"},
    "asha": {"resource_name": "epochs"},
    "bohb": {"resource_name": "epochs"},
    "pbt": {"suggestion_trial_dir": "/opt/x", "n_population": "5", "truncation_threshold": "0.4"},
    "enas": {"controller_train_steps": "1"},
    "darts": {"num_epochs": "1"},
}


@contextlib.asynccontextmanager
async def served(*handlers: Any, health: serving.Health | None = None) -> AsyncIterator[str]:
    """A server of handlers; gives its address."""
    server = serving.Server(handlers, health=health)
    port_ = await server.start()
    try:
        yield f"127.0.0.1:{port_}"
    finally:
        await server.stop(0)


def experiment_message(pb: Any, algorithm: str, **settings: str) -> Any:
    """An experiment over a learning rate, layers, an optimizer and epochs."""
    made = pb.Experiment(name="search")
    spec = made.spec
    spec.objective.type = pb.MAXIMIZE
    spec.objective.objective_metric_name = "acc"
    spec.algorithm.algorithm_name = algorithm
    for name, value in (SETTINGS.get(algorithm, {}) | settings).items():
        spec.algorithm.algorithm_settings.add(name=name, value=value)
    spec.parallel_trial_count, spec.max_trial_count = 9, 12
    if algorithm in ("enas", "darts"):
        fill_nas(pb, spec.nas_config)
        return made
    add = spec.parameter_specs.parameters.add
    lr = add(name="lr", parameter_type=pb.DOUBLE)
    lr.feasible_space.min, lr.feasible_space.max, lr.feasible_space.step = "0.01", "0.05", "0.01"
    lr.feasible_space.distribution = pb.UNIFORM
    layers = add(name="layers", parameter_type=pb.INT)
    layers.feasible_space.min, layers.feasible_space.max = "1", "4"
    add(name="opt", parameter_type=pb.CATEGORICAL).feasible_space.list.extend(["sgd", "adam"])
    epochs = add(name="epochs", parameter_type=pb.INT)
    epochs.feasible_space.min, epochs.feasible_space.max = "1", "9"
    return made


def fill_nas(pb: Any, config: Any) -> None:
    """A small architecture space."""
    config.graph_config.num_layers = 2
    config.graph_config.input_sizes.extend([32, 32, 3])
    config.graph_config.output_sizes.extend([10])
    operation = config.operations.operation.add(operation_type="convolution")
    size = operation.parameter_specs.parameters.add(name="filter_size", parameter_type=pb.CATEGORICAL)
    size.feasible_space.list.extend(["3", "5", "7"])


def trial_message(pb: Any, name: str, values: dict[str, str], number: int) -> Any:
    """A succeeded trial."""
    made = pb.Trial(name=name)
    for key, value in values.items():
        made.spec.parameter_assignments.assignments.add(name=key, value=value)
    made.status.condition = pb.TrialStatus.SUCCEEDED
    made.status.start_time = f"2026-01-01T00:00:{number % 60:02d}Z"
    made.status.observation.metrics.add(name="acc", value=str(0.5 + 0.01 * (number % 7)))
    return made


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """Code and details of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("algorithm", registry.names())
async def test_every_algorithm(stranger: Any, algorithm: str) -> None:
    """[acceptance 2] A stranger's client validates, asks three times with growing history, and gets usable distinct answers."""
    pb = stranger.pb
    async with served(servers.SuggestionService().handler()) as address, grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.SuggestionStub(channel)
        subject = experiment_message(pb, algorithm)
        await stub.ValidateAlgorithmSettings(pb.ValidateAlgorithmSettingsRequest(experiment=subject))
        trials: list[Any] = []
        for count in (9, 2, 1):
            total = len(trials) + count
            request = pb.GetSuggestionsRequest(
                experiment=subject, trials=trials, current_request_number=count, total_request_number=total
            )
            reply = await stub.GetSuggestions(request)
            again = await stub.GetSuggestions(request)
            assert again == reply, "asking again for the same gives the same"
            assert 0 < len(reply.parameter_assignments) <= count
            assert len(reply.parameter_assignments) == count or algorithm in ("hyperband", "pbt")
            for item in reply.parameter_assignments:
                assert item.trial_name.startswith("search-")
                values = {a.name: a.value for a in item.assignments}
                assert set(values) == set(values_of(algorithm))
                trials.append(trial_message(pb, item.trial_name, values, len(trials)))
            merged = {
                s.name: s.value
                for s in (*subject.spec.algorithm.algorithm_settings, *reply.algorithm.algorithm_settings)
            }
            del subject.spec.algorithm.algorithm_settings[:]
            for name, value in merged.items():
                subject.spec.algorithm.algorithm_settings.add(name=name, value=value)
        assert len({t.name for t in trials}) == len(trials)


def values_of(algorithm: str) -> tuple[str, ...]:
    """Names of what an algorithm gives."""
    nas = {"enas": ("architecture", "nn_config"), "darts": ("algorithm-settings", "search-space", "num-layers")}
    return nas.get(algorithm, ("lr", "layers", "opt", "epochs"))


@pytest.mark.parametrize(
    ("algorithm", "settings", "part"),
    [
        ("nothing", {}, "unknown algorithm"),
        ("random", {"random_state": "x"}, "random_state"),
        ("random", {"no_such": "1"}, "no_such"),
        ("grid", {}, ""),
    ],
)
async def test_refused_settings(stranger: Any, algorithm: str, settings: dict[str, str], part: str) -> None:
    """Settings that do not work are INVALID_ARGUMENT with a sentence that names them, for checking and for asking alike."""
    pb = stranger.pb
    subject = experiment_message(pb, algorithm, **settings)
    if algorithm == "grid":
        subject.spec.parameter_specs.parameters[0].feasible_space.step = ""
        part = "lr"
    async with served(servers.SuggestionService().handler()) as address, grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.SuggestionStub(channel)
        for call in (
            stub.ValidateAlgorithmSettings(pb.ValidateAlgorithmSettingsRequest(experiment=subject)),
            stub.GetSuggestions(pb.GetSuggestionsRequest(experiment=subject, current_request_number=1)),
        ):
            code, details = await code_of(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert part in details


async def test_one_algorithm_only(stranger: Any) -> None:
    """A service of one algorithm refuses the names of others."""
    pb = stranger.pb
    async with (
        served(servers.SuggestionService("random").handler()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = stranger.stubs.SuggestionStub(channel)
        request = pb.ValidateAlgorithmSettingsRequest(experiment=experiment_message(pb, "tpe"))
        assert (await code_of(stub.ValidateAlgorithmSettings(request)))[0] is grpc.StatusCode.INVALID_ARGUMENT
        empty = pb.ValidateAlgorithmSettingsRequest()
        assert "experiment.name" in (await code_of(stub.ValidateAlgorithmSettings(empty)))[1]


@pytest.mark.parametrize(
    ("numbers", "count", "total"),
    [
        ({"request_number": 3}, 3, 0),
        ({"request_number": 3, "current_request_number": 5}, 3, 5),
        ({"request_number": 3, "current_request_number": 3, "total_request_number": 5}, 3, 5),
        ({"current_request_number": 3, "total_request_number": 5}, 3, 5),
        ({"current_request_number": 3}, 3, 0),
        ({}, 0, 0),
    ],
    ids=["alpha3 to v0.11", "v0.12", "v0.13 and ours", "today", "no total", "nothing"],
)
def test_request_forms(numbers: dict[str, int], count: int, total: int) -> None:
    """The count is read from whichever fields a release of Katib puts it in."""
    assert searches.asked(messages.GetSuggestionsRequest(**numbers), 0) == searches.Asked(count, total)


@pytest.mark.parametrize(
    "numbers",
    [
        {"current_request_number": 10_001},
        {"request_number": -1},
        {"current_request_number": 1, "total_request_number": 2**31 - 1},
    ],
)
def test_hostile_numbers(numbers: dict[str, int]) -> None:
    """Counts that no experiment has are refused before anything is computed."""
    with pytest.raises(errors.BadInputError):
        searches.asked(messages.GetSuggestionsRequest(**numbers), 0)


async def test_a_restarted_service_goes_on(stranger: Any) -> None:
    """[C12] A service that has lost everything answers as one that has not, from the trials it is sent."""
    pb = stranger.pb
    replies = []
    subject = experiment_message(pb, "grid")
    first = pb.GetSuggestionsRequest(experiment=subject, current_request_number=5, total_request_number=5)
    for restart in (False, True):
        async with contextlib.AsyncExitStack() as stack:
            address = await stack.enter_async_context(served(servers.SuggestionService().handler()))
            stub = stranger.stubs.SuggestionStub(await stack.enter_async_context(grpc.aio.insecure_channel(address)))
            reply = await stub.GetSuggestions(first)
            trials = [
                trial_message(pb, item.trial_name, {a.name: a.value for a in item.assignments}, i)
                for i, item in enumerate(reply.parameter_assignments)
            ]
            if restart:
                address = await stack.enter_async_context(served(servers.SuggestionService().handler()))
                stub = stranger.stubs.SuggestionStub(
                    await stack.enter_async_context(grpc.aio.insecure_channel(address))
                )
            request = pb.GetSuggestionsRequest(
                experiment=subject, trials=reversed(trials), current_request_number=3, total_request_number=8
            )
            replies.append(await stub.GetSuggestions(request))
    assert replies[0] == replies[1]
    assert len(replies[0].parameter_assignments) == 3


async def test_trials_of_other_names(stranger: Any) -> None:
    """Trials that the service did not name fill slots by start time; grid still repeats none of its points and ends."""
    pb = stranger.pb
    subject = experiment_message(pb, "grid")
    subject.spec.parameter_specs.parameters[3].feasible_space.max = "1"
    seen: list[tuple[str, ...]] = []
    async with served(servers.SuggestionService().handler()) as address, grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.SuggestionStub(channel)
        trials: list[Any] = []
        while True:
            call = stub.GetSuggestions(
                pb.GetSuggestionsRequest(
                    experiment=subject, trials=trials, current_request_number=7, total_request_number=len(trials) + 7
                )
            )
            reply = await call
            for item in reply.parameter_assignments:
                values = {a.name: a.value for a in item.assignments}
                seen.append(tuple(values.values()))
                trials.append(trial_message(pb, f"foreign-{len(trials)}", values, len(trials)))
            if len(reply.parameter_assignments) < 7:
                trailing = dict(await call.trailing_metadata())
                break
    assert len(seen) == len(set(seen)) == 5 * 4 * 2
    assert trailing["kuttab-exhausted"] == "true"


async def test_our_client_and_our_service() -> None:
    """Our client asks our service; the end of a finite space arrives as the end."""
    document = {
        "metadata": {"name": "e", "uid": "u"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "grid"},
            "parameters": [{"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "3"}}],
        },
    }
    subject = experiment.Experiment.load(document)
    async with served(servers.SuggestionService().handler()) as address:
        client = suggestions.GrpcSuggestions(address)
        await client.validate(subject)
        trials = ledger.Ledger("u", maximize=False)
        reply = await client.suggest(suggestion_port.Request(subject, trials, 0, 5))
        await client.close()
    assert sorted(item.parameter_assignments[0].value for item in reply.assignments if item.parameter_assignments) == [
        "1",
        "2",
        "3",
    ]
    assert reply.exhausted


async def test_why_our_service_waits() -> None:
    """An algorithm that needs results first says so through the wire, and is not taken to have ended."""
    document = {
        "metadata": {"name": "e", "uid": "u"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {
                "algorithmName": "hyperband",
                "algorithmSettings": [
                    {"name": "r_l", "value": "4"},
                    {"name": "eta", "value": "2"},
                    {"name": "resource_name", "value": "x"},
                ],
            },
            "parallelTrialCount": 8,
            "parameters": [
                {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "4"}},
                {"name": "y", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
            ],
        },
    }
    subject = experiment.Experiment.load(document)
    trials = ledger.Ledger("u", maximize=False)
    async with served(servers.SuggestionService().handler()) as address:
        client = suggestions.GrpcSuggestions(address)
        reply = None
        for _ in range(10):
            reply = await client.suggest(suggestion_port.Request(subject, trials, trials.next_slot, 8))
            if not reply.assignments:
                break
            for item in reply.assignments:
                given = {a.name: a.value for a in item.parameter_assignments or ()}
                names, values = tuple(given), tuple(given.values())
                trials.put(
                    history.TrialRecord(item.name, item.name, item.slot, history.TrialState.RUNNING, names, values)
                )
        await client.close()
    assert reply is not None
    assert not reply.exhausted
    assert " " in reply.wait


async def test_health(stranger: Any) -> None:
    """Katib's probe name and the empty name are SERVING, any other is NOT_FOUND, and a broken database is NOT_SERVING."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    service = servers.SuggestionService()
    async with (
        served(service.handler(), health=service.health()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("manager.v1beta1.Suggestion", "", "api.v1.beta1.Suggestion"):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == 1
        assert (await code_of(stub.Check(health_pb2.HealthCheckRequest(service="x"))))[0] is grpc.StatusCode.NOT_FOUND

    class Broken(memory.MemoryObservations):
        async def read(self, *_: Any, **__: Any) -> list[port.Row]:
            raise errors.UnavailableError("the database is away")

    for observations, status in ((memory.MemoryObservations(), 1), (Broken(), 2)):
        health = servers.db_manager_health(observations)
        async with served(health=health) as address, grpc.aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=""))).status == status


async def resolve(name: str) -> port.TrialKey:
    """Trials a and b exist."""
    if name not in ("a", "b"):
        raise errors.NotFoundError(f"there is no trial {name!r}")
    return port.TrialKey(f"uid-{name}", name, "team")


def report(pb: Any, trial: str, *rows: tuple[str, str, str]) -> Any:
    """A report of rows (metric, value, time)."""
    made = pb.ReportObservationLogRequest(trial_name=trial)
    for metric, value, time in rows:
        made.observation_log.metric_logs.add(time_stamp=time, metric=pb.Metric(name=metric, value=value))
    return made


async def test_db_manager(stranger: Any) -> None:
    """Rows are stored exactly once, come back by metric and time, keep nanoseconds and NaN, and go away on deletion."""
    pb = stranger.pb
    log = memory.MemoryObservations()
    async with (
        served(dbmanager.DbManager(log, resolve).handler()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = stranger.stubs.DBManagerStub(channel)
        rows = (
            ("acc", "0.1", "2026-01-01T00:00:01.123456789Z"),
            ("loss", "NaN", "2026-01-01T00:00:02Z"),
            ("acc", "0.2", "2026-01-01T02:00:03+02:00"),
        )
        for _ in range(3):
            await stub.ReportObservationLog(report(pb, "a", *rows))
        await stub.ReportObservationLog(report(pb, "b", ("acc", "9", "2026-01-01T00:00:01Z")))
        await stub.ReportObservationLog(report(pb, "a"))
        got = await stub.GetObservationLog(pb.GetObservationLogRequest(trial_name="a"))
        assert [(m.metric.name, m.metric.value) for m in got.observation_log.metric_logs] == [
            ("acc", "0.1"),
            ("loss", "NaN"),
            ("acc", "0.2"),
        ]
        assert got.observation_log.metric_logs[0].time_stamp == "2026-01-01T00:00:01.123456789Z"
        wanted = pb.GetObservationLogRequest(
            trial_name="a", metric_name="acc", start_time="2026-01-01T00:00:02Z", end_time="2026-01-01T00:00:03Z"
        )
        got = await stub.GetObservationLog(wanted)
        assert [m.metric.value for m in got.observation_log.metric_logs] == ["0.2"]
        for _ in range(2):
            await stub.DeleteObservationLog(pb.DeleteObservationLogRequest(trial_name="a"))
        await stub.DeleteObservationLog(pb.DeleteObservationLogRequest(trial_name="gone"))
        assert not (
            await stub.GetObservationLog(pb.GetObservationLogRequest(trial_name="a"))
        ).observation_log.metric_logs
        assert (await stub.GetObservationLog(pb.GetObservationLogRequest(trial_name="b"))).observation_log.metric_logs


async def test_db_manager_refusals(stranger: Any) -> None:
    """Unknown trials, bad times and nameless metrics get a code and a sentence; nothing of a bad report is stored."""
    pb = stranger.pb
    log = memory.MemoryObservations()
    async with (
        served(dbmanager.DbManager(log, resolve).handler()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = stranger.stubs.DBManagerStub(channel)
        good = ("acc", "1", "2026-01-01T00:00:00Z")
        for bad, part in (
            (report(pb, "a", good, ("acc", "1", "yesterday")), "metric_logs[1]: time_stamp 'yesterday'"),
            (report(pb, "a", good, ("", "1", good[2])), "metric_logs[1]: the metric has no name"),
            (report(pb, ""), "trial_name must be given"),
        ):
            code, details = await code_of(stub.ReportObservationLog(bad))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert part in details
        assert (await code_of(stub.ReportObservationLog(report(pb, "zz", good))))[0] is grpc.StatusCode.NOT_FOUND
        assert (await code_of(stub.GetObservationLog(pb.GetObservationLogRequest(trial_name="zz"))))[
            0
        ] is grpc.StatusCode.NOT_FOUND
        bad_range = pb.GetObservationLogRequest(trial_name="a", start_time="noon")
        assert (await code_of(stub.GetObservationLog(bad_range)))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert not (
            await stub.GetObservationLog(pb.GetObservationLogRequest(trial_name="a"))
        ).observation_log.metric_logs


async def test_big_reports_and_limits(stranger: Any) -> None:
    """A report of 12,000 rows is stored whole and once; a message beyond the limit is refused and the server goes on."""
    pb = stranger.pb
    log = memory.MemoryObservations()
    options = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
    async with (
        served(dbmanager.DbManager(log, resolve).handler()) as address,
        grpc.aio.insecure_channel(address, options=options) as channel,
    ):
        stub = stranger.stubs.DBManagerStub(channel)
        rows = [("acc", str(i), f"2026-01-01T00:00:00.{i:09d}Z") for i in range(12_000)]
        for _ in range(2):
            await stub.ReportObservationLog(report(pb, "a", *rows))
        got = await stub.GetObservationLog(pb.GetObservationLogRequest(trial_name="a"))
        assert [m.metric.value for m in got.observation_log.metric_logs] == [str(i) for i in range(12_000)]
        huge = report(pb, "a", ("acc", "x" * (serving.MAX_REQUEST + 1), ""))
        assert (await code_of(stub.ReportObservationLog(huge)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stub.DeleteObservationLog(pb.DeleteObservationLogRequest(trial_name="a"))


async def test_db_manager_client(stranger: Any) -> None:
    """Our client of the db-manager reports in parts, reads back, and tells bad input from a server that is away."""
    log = memory.MemoryObservations()
    async with served(dbmanager.DbManager(log, resolve).handler()) as address:
        client = dbmanager.DbManagerClient(address)
        rows = [port.Row("acc", str(i), "2026-01-01T00:00:00Z") for i in range(dbmanager.CLIENT_CHUNK + 1)]
        await client.report("a", rows)
        assert await client.read("a", metric="acc") == rows
        with pytest.raises(errors.NotFoundError):
            await client.read("zz")
        with pytest.raises(errors.BadInputError):
            await client.read("a", start="noon")
        await client.delete("a")
        assert await client.read("a") == []
        await client.close()
    away = dbmanager.DbManagerClient("127.0.0.1:1", timeout=2)
    with pytest.raises(errors.UnavailableError):
        await away.read("a")
    await away.close()


async def test_early_stopping_service(stranger: Any) -> None:
    """Rules come from the curves that a db-manager holds; bad settings are refused; only the caller's trials can be stopped."""
    pb = stranger.pb
    log = memory.MemoryObservations()
    for name in ("a", "b"):
        key = await resolve(name)
        await log.report(key, "s", 0, [port.Row("acc", value, "") for value in ("0.2", "nonsense", "0.4")])
    stopped = []

    async def stop(name: str, _: Any) -> None:
        await resolve(name)
        stopped.append(name)

    service = servers.EarlyStoppingService(stop)
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(served(dbmanager.DbManager(log, resolve).handler()))
        address = await stack.enter_async_context(served(service.handler()))
        stub = stranger.stubs.EarlyStoppingStub(await stack.enter_async_context(grpc.aio.insecure_channel(address)))
        subject = experiment_message(pb, "random")
        subject.spec.early_stopping.algorithm_name = "medianstop"
        subject.spec.early_stopping.algorithm_settings.add(name="min_trials_required", value="2")
        subject.spec.early_stopping.algorithm_settings.add(name="start_step", value="3")
        await stub.ValidateEarlyStoppingSettings(
            pb.ValidateEarlyStoppingSettingsRequest(early_stopping=subject.spec.early_stopping)
        )
        trials = [trial_message(pb, name, {"lr": "0.01"}, 0) for name in ("a", "b")]
        request = pb.GetEarlyStoppingRulesRequest(experiment=subject, trials=trials, db_manager_address=database)
        for _ in range(2):
            (rule,) = (await stub.GetEarlyStoppingRules(request)).early_stopping_rules
            assert (rule.name, rule.comparison, rule.start_step) == ("acc", pb.LESS, 3)
            assert float(rule.value) == pytest.approx(0.3)
        alone = pb.GetEarlyStoppingRulesRequest(experiment=subject, trials=trials[:1], db_manager_address=database)
        assert not (await stub.GetEarlyStoppingRules(alone)).early_stopping_rules
        bad = pb.EarlyStoppingSpec(algorithm_name="medianstop")
        bad.algorithm_settings.add(name="start_step", value="0")
        code, details = await code_of(
            stub.ValidateEarlyStoppingSettings(pb.ValidateEarlyStoppingSettingsRequest(early_stopping=bad))
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "start_step" in details
        await stub.SetTrialStatus(pb.SetTrialStatusRequest(trial_name="a"))
        assert (await code_of(stub.SetTrialStatus(pb.SetTrialStatusRequest(trial_name="x"))))[
            0
        ] is grpc.StatusCode.NOT_FOUND
        assert (await code_of(stub.SetTrialStatus(pb.SetTrialStatusRequest())))[0] is grpc.StatusCode.INVALID_ARGUMENT
        away = pb.GetEarlyStoppingRulesRequest(experiment=subject, trials=[trial_message(pb, "c", {"lr": "0.01"}, 0)])
        assert (await code_of(stub.GetEarlyStoppingRules(away)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert stopped == ["a"]
    await service.close()


async def test_faults_are_not_shown(stranger: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is INTERNAL without a traceback on the wire; it is in the log, and the server goes on."""

    async def broken(name: str) -> port.TrialKey:
        raise RuntimeError("SECRET detail")

    async with (
        served(dbmanager.DbManager(memory.MemoryObservations(), broken).handler()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = stranger.stubs.DBManagerStub(channel)
        for _ in range(2):
            code, details = await code_of(stub.GetObservationLog(stranger.pb.GetObservationLogRequest(trial_name="a")))
            assert code is grpc.StatusCode.INTERNAL
            assert "SECRET" not in details
    assert "SECRET detail" in caplog.text


async def test_port_in_use() -> None:
    """A second server on the same port says so."""
    async with served() as address:
        with pytest.raises(errors.UnavailableError, match="cannot listen"):
            await serving.Server([], port=int(address.rpartition(":")[2])).start()


async def test_garbage_on_the_socket(stranger: Any) -> None:
    """Bytes that are no HTTP/2, no message, or an unknown method harm nobody else."""
    pb = stranger.pb
    log = memory.MemoryObservations()
    async with served(dbmanager.DbManager(log, resolve).handler()) as address:
        host, _, number = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(number))
        writer.write(b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 1000)
        await writer.drain()
        async with grpc.aio.insecure_channel(address) as channel:
            raw = channel.unary_unary("/api.v1.beta1.DBManager/GetObservationLog")
            assert (await code_of(raw(b"\xff\xff\xff")))[0] is grpc.StatusCode.INVALID_ARGUMENT
            assert (await code_of(channel.unary_unary("/api.v1.beta1.DBManager/Nothing")(b"")))[
                0
            ] is grpc.StatusCode.UNIMPLEMENTED
            stub = stranger.stubs.DBManagerStub(channel)
            assert not (
                await stub.GetObservationLog(pb.GetObservationLogRequest(trial_name="a"))
            ).observation_log.metric_logs
        writer.close()
        await writer.wait_closed()


async def ask(stub: Any, pb: Any, subject: Any, trials: list[Any], count: int) -> list[tuple[str, dict[str, str]]]:
    """Names and values of an answer."""
    total = len(trials) + count
    request = pb.GetSuggestionsRequest(
        experiment=subject, trials=trials, current_request_number=count, total_request_number=total
    )
    reply = await stub.GetSuggestions(request)
    return [(item.trial_name, {a.name: a.value for a in item.assignments}) for item in reply.parameter_assignments]


async def test_what_happens_between_calls(stranger: Any) -> None:
    """Trials that changed or went away, changed settings, and another experiment of the same name are all taken in."""
    pb = stranger.pb
    async with served(servers.SuggestionService().handler()) as address, grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.SuggestionStub(channel)
        subject = experiment_message(pb, "grid")
        first = await ask(stub, pb, subject, [], 4)
        trials = [trial_message(pb, name, values, i) for i, (name, values) in enumerate(first)]
        for trial in trials:
            trial.status.condition = pb.TrialStatus.RUNNING
        second = await ask(stub, pb, subject, trials, 2)
        trials[0].status.condition = pb.TrialStatus.FAILED
        del trials[2]
        third = await ask(stub, pb, subject, trials, 3)
        points = [tuple(values.values()) for _, values in [*first, *second]]
        assert len(set(points)) == 6
        assert tuple(third[-1][1].values()) not in points[:4]
        other = experiment_message(pb, "grid")
        other.spec.parameter_specs.parameters[1].feasible_space.max = "9"
        assert len(await ask(stub, pb, other, [], 2)) == 2
        broken = experiment_message(pb, "grid", random_state="x")
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(stub, pb, broken, [], 1)
        assert await ask(stub, pb, subject, [], 4) == first


async def test_many_experiments(stranger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service forgets the search that was unused for longest; it answers the same when it comes back."""
    monkeypatch.setattr(servers, "MAX_EXPERIMENTS", 2)
    pb = stranger.pb
    service = servers.SuggestionService()
    async with served(service.handler()) as address, grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.SuggestionStub(channel)
        answers = {}
        for name in ("a", "b", "c", "a"):
            subject = experiment_message(pb, "random")
            subject.name = name
            answer = await ask(stub, pb, subject, [], 2)
            assert answers.setdefault(name, answer) == answer
        assert list(service._slots) == ["c", "a"]


async def test_foreign_trials_do_not_hide_a_broken_history(stranger: Any) -> None:
    """A history whose bytes are damaged is refused, and the service answers the next request from the whole one."""
    pb = stranger.pb
    async with served(servers.SuggestionService().handler()) as address, grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.SuggestionStub(channel)
        subject = experiment_message(pb, "random")
        first = await ask(stub, pb, subject, [], 2)
        request = pb.GetSuggestionsRequest(experiment=subject, current_request_number=1, total_request_number=3)
        damaged = request.SerializeToString() + b"\x12\x03\xff\xff\xff"
        raw = channel.unary_unary("/api.v1.beta1.Suggestion/GetSuggestions")
        assert (await code_of(raw(damaged)))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert (await code_of(raw(request.SerializeToString() + b"\x12\x7f")))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert await ask(stub, pb, subject, [], 2) == first

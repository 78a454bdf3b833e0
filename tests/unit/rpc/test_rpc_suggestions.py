"""Our client against strangers' suggestion services, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest

from kuttab.api import experiment, history, suggestion
from kuttab.api.history import TrialRecord, TrialState
from kuttab.base import errors
from kuttab.ports import suggestion as port
from kuttab.rpc import answers, suggestions
from kuttab.rules import ledger

PARAMETERS = [
    {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.1"}},
    {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "5"}},
    {"name": "opt", "parameterType": "categorical", "feasibleSpace": {"list": ["sgd", "adam"]}},
    {"name": "batch", "parameterType": "discrete", "feasibleSpace": {"list": ["16", "32"]}},
]
GOOD = {"lr": "0.05", "layers": "3", "opt": "adam", "batch": "16"}


def subject(**spec: Any) -> experiment.Experiment:
    """An experiment over four kinds of parameters."""
    document = {
        "metadata": {"name": "search", "namespace": "team", "uid": "u-1"},
        "spec": {
            "parameters": PARAMETERS,
            "objective": {
                "type": "maximize", "goal": 0.99, "objectiveMetricName": "acc", "additionalMetricNames": ["loss"],
                "metricStrategies": [{"name": "loss", "value": "min"}],
            },
            "algorithm": {"algorithmName": "own", "algorithmSettings": [{"name": "depth", "value": "4"}]},
            "parallelTrialCount": 3,
            "maxTrialCount": 12,
            **spec,
        },
    }  # fmt: skip
    return experiment.Experiment.load(document)


def record(slot: int, state: TrialState = TrialState.SUCCEEDED, **changes: Any) -> TrialRecord:
    """A trial with values of the space."""
    metrics = (
        history.MetricValues("acc", latest="0.7", max="0.8", min="0.1"),
        history.MetricValues("loss", latest="0.5", max="0.9", min="0.4"),
    )
    fields: dict[str, Any] = {
        "names": tuple(GOOD), "values": tuple(GOOD.values()), "objective": 0.8, "metrics": metrics,
        "start_time": f"2026-01-01T00:00:{slot % 60:02d}Z", **changes,
    }  # fmt: skip
    return TrialRecord(f"t{slot}", f"uid{slot}", slot, state, **fields)


def account(*records: TrialRecord) -> ledger.Ledger:
    """The trials port over records."""
    made = ledger.Ledger("u-1", maximize=True)
    for item in records:
        made.put(item)
    return made


def request(trials: port.Trials, first_slot: int = 0, count: int = 2, **more: Any) -> port.Request:
    """A request for slots."""
    return port.Request(subject(), trials, first_slot, count, **more)


class Service:
    """A stranger's service: keeps what it was asked, and answers what it is told."""

    def __init__(self, stranger: Any, *answers_: Any) -> None:
        self.pb = stranger.pb
        self.asked: list[Any] = []
        self.raw: list[bytes] = []
        self.answers = list(answers_)
        self.methods: dict[str, Callable[..., Any]] = {"GetSuggestions": self.suggest}

    async def suggest(self, raw: bytes, context: Any) -> bytes:
        """Note what was asked and answer what comes next."""
        self.raw.append(raw)
        self.asked.append(self.pb.GetSuggestionsRequest.FromString(raw))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(self.asked[-1])
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "because")
        return answer if isinstance(answer, bytes) else answer.SerializeToString()

    def reply(self, *values: dict[str, str], settings: Sequence[tuple[str, str]] = ()) -> Any:
        """A reply with assignments."""
        made = self.pb.GetSuggestionsReply()
        for item in values:
            out = made.parameter_assignments.add()
            for name, value in item.items():
                out.assignments.add(name=name, value=value)
        for name, value in settings:
            made.algorithm.algorithm_settings.add(name=name, value=value)
        return made


async def test_what_a_service_sees(stranger: Any, serve: Any) -> None:
    """The request carries experiment, trials and counts as Katib's controller sends them, and the old field 3 as well."""
    service = Service(stranger)
    service.answers = [service.reply(GOOD, GOOD, settings=[("state", "7")])]
    trials = account(
        record(0),
        record(1, TrialState.METRICS_UNAVAILABLE, objective=None, metrics=()),
        record(2, TrialState.EARLY_STOPPED, objective=None, metrics=()),
        record(3, TrialState.EARLY_STOPPED),
        record(4, TrialState.FAILED, objective=None, metrics=(), reason="UserError"),
        record(5, TrialState.FAILED, objective=None, metrics=(), reason="Infrastructure"),
        record(6, TrialState.RUNNING, objective=None, metrics=()),
    )
    waiting = suggestion.TrialAssignment.model_validate(
        {"name": "t7", "slot": 7, "parameterAssignments": [{"name": k, "value": v} for k, v in GOOD.items()]}
    )
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        reply = await client.suggest(request(trials, 8, 2, pending=[waiting]))
        await client.close()
    asked = service.asked[0]
    assert (asked.current_request_number, asked.total_request_number) == (2, 10)
    assert b"\x18\x02" in service.raw[0]
    spec = asked.experiment.spec
    assert asked.experiment.name == "search"
    assert [p.name for p in spec.parameter_specs.parameters] == list(GOOD)
    assert [p.parameter_type for p in spec.parameter_specs.parameters] == [1, 2, 4, 3]
    assert spec.parameter_specs.parameters[0].feasible_space.max == "0.1"
    assert list(spec.parameter_specs.parameters[2].feasible_space.list) == ["sgd", "adam"]
    assert (spec.objective.type, spec.objective.goal, spec.objective.objective_metric_name) == (2, 0.99, "acc")
    assert [(s.name, s.value) for s in spec.algorithm.algorithm_settings] == [("depth", "4")]
    assert (spec.parallel_trial_count, spec.max_trial_count) == (3, 12)
    conditions = {t.name: t.status.condition for t in asked.trials}
    assert conditions == {"t0": 2, "t3": 6, "t4": 4, "t5": 3, "t6": 1, "t7": 0}
    assert [(m.name, m.value) for m in asked.trials[0].status.observation.metrics] == [("acc", "0.8"), ("loss", "0.4")]
    assert {a.name: a.value for a in asked.trials[0].spec.parameter_assignments.assignments} == GOOD
    assert asked.trials[0].status.start_time == "2026-01-01T00:00:00Z"
    assert [item.slot for item in reply.assignments] == [8, 9]
    assert reply.settings == {"state": "7"}
    assert not reply.exhausted
    assert reply.wait == ""


VALIDATE = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.RefusedError,
    grpc.StatusCode.UNKNOWN: errors.RefusedError,
    grpc.StatusCode.UNIMPLEMENTED: None,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineError,
}


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=lambda c: c.name
)
async def test_codes(stranger: Any, serve: Any, code: grpc.StatusCode) -> None:
    """[C13] Each of gRPC's codes is permanent or passes exactly as the table says, for checking and for asking."""
    service = Service(stranger, code)

    async def validate(raw: bytes, context: Any) -> bytes:
        await context.abort(code, "no\nsuch \x1b[31msetting")
        return raw

    async with serve({**service.methods, "ValidateAlgorithmSettings": validate}) as address:
        client = suggestions.GrpcSuggestions(address)
        expected = VALIDATE.get(code, errors.UnavailableError)
        if expected is None:
            await client.validate(subject())
        else:
            with pytest.raises(expected, match=r"no such \[31msetting") as caught:
                await client.validate(subject())
            assert type(caught.value) is expected
            assert caught.value.permanent is (expected is errors.RefusedError)
        asking = errors.BrokenAnswerError if code is grpc.StatusCode.UNIMPLEMENTED else errors.UnavailableError
        with pytest.raises(asking):
            await client.suggest(request(account()))
        await client.close()


async def test_accepted_settings(stranger: Any, serve: Any) -> None:
    """A service that accepts the settings, or has no such method at all, lets the experiment go on."""
    seen = []

    async def validate(raw: bytes, context: Any) -> bytes:
        seen.append(stranger.pb.ValidateAlgorithmSettingsRequest.FromString(raw).experiment.name)
        return b""

    for methods in ({"ValidateAlgorithmSettings": validate}, {}):
        async with serve(methods) as address:
            client = suggestions.GrpcSuggestions(address)
            await client.validate(subject())
            await client.close()
    assert seen == ["search"]


async def test_nobody_listens() -> None:
    """[C12] A service that is not there yet is unavailable at once, never a failure of the experiment."""
    client = suggestions.GrpcSuggestions("127.0.0.1:1", timeout=5)
    started = time.monotonic()
    for call in (client.validate(subject()), client.suggest(request(account()))):
        with pytest.raises(errors.UnavailableError):
            await call
    assert time.monotonic() - started < 4
    await client.close()


async def test_service_comes_back(stranger: Any, serve: Any) -> None:
    """[C12] A service that was restarted on another connection is asked again and gets the whole history."""
    service = Service(stranger)
    service.answers = [service.reply(GOOD)]
    trials = account(record(0))
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        assert len((await client.suggest(request(trials, 1, 1))).assignments) == 1
    with pytest.raises(errors.UnavailableError):
        await client.suggest(request(trials, 2, 1))
    await client.close()
    async with serve(service.methods) as again:
        fresh = suggestions.GrpcSuggestions(again)
        assert len((await fresh.suggest(request(trials, 2, 1))).assignments) == 1
        await fresh.close()
    assert [t.name for t in service.asked[-1].trials] == ["t0"]


async def test_hanging_service(stranger: Any, serve: Any) -> None:
    """[C15] A call that is never answered ends at its deadline, and calls for others go on meanwhile."""
    service = Service(stranger)
    service.answers = [service.reply(GOOD)]

    async def hang(raw: bytes, context: Any) -> bytes:
        asked = stranger.pb.GetSuggestionsRequest.FromString(raw)
        if asked.total_request_number == 1:
            await asyncio.Event().wait()
        return await service.suggest(raw, context)

    async with serve({"GetSuggestions": hang}) as address:
        client = suggestions.GrpcSuggestions(address, timeout=0.3)
        hanging = asyncio.create_task(client.suggest(request(account(), 0, 1)))
        document = {"metadata": {"name": "b", "uid": "u-2"}, "spec": {"parameters": PARAMETERS}}
        other = port.Request(experiment.Experiment.load(document), account(), 5, 1)
        assert len((await client.suggest(other)).assignments) == 1
        with pytest.raises(errors.DeadlineError):
            await hanging
        await client.close()


async def test_an_answer_is_kept_until_it_is_stored(stranger: Any, serve: Any) -> None:
    """[C13, lost replies] Asking for the same slots again gives the same answer without asking a service that has moved on."""
    service = Service(stranger)
    first, second = {**GOOD, "layers": "1"}, {**GOOD, "layers": "2"}
    service.answers = [service.reply(first, second, GOOD), service.reply({**GOOD, "layers": "5"})]
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        trials = account()
        one = await client.suggest(request(trials, 0, 3))
        again = await client.suggest(request(trials, 0, 3))
        assert again == one
        part = await client.suggest(request(trials, 1, 3))
        assert [item.slot for item in part.assignments] == [1, 2]
        assert part.wait != ""
        assert [i.slot for i in (await client.suggest(request(trials, 0, 1))).assignments] == [0]
        assert len(service.asked) == 1
        fresh = await client.suggest(request(trials, 3, 1))
        assert fresh.assignments[0].parameter_assignments[1].value == "5"  # type: ignore[index]
        await client.release("u-1")
        await client.close()
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("given", "running", "exhausted", "waits"),
    [(0, False, True, False), (0, True, False, True), (1, False, False, True)],
)
async def test_short_answers(
    stranger: Any, serve: Any, given: int, running: bool, exhausted: bool, waits: bool
) -> None:
    """[C14, fewer and zero] Nothing at all is the end when nothing runs and a wait otherwise; a part is taken and the rest waits."""
    service = Service(stranger)
    service.answers = [service.reply(*[GOOD] * given)]
    trials = account(record(0, TrialState.RUNNING if running else TrialState.SUCCEEDED))
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        reply = await client.suggest(request(trials, 1, 2))
        await client.close()
    assert (len(reply.assignments), reply.exhausted, bool(reply.wait)) == (given, exhausted, waits)


BAD_VALUES = [
    ({**GOOD, "lr": "0.2"}, "lies outside 0.01 .. 0.1"),
    ({**GOOD, "lr": "nan"}, "no finite number"),
    ({**GOOD, "lr": "inf"}, "no finite number"),
    ({**GOOD, "lr": "1_0e-2"}, "no finite number"),
    ({**GOOD, "lr": " 0.05"}, "no finite number"),
    ({**GOOD, "lr": "٠.05"}, "no finite number"),
    ({**GOOD, "lr": ""}, "no finite number"),
    ({**GOOD, "lr": "$(id)"}, "no finite number"),
    ({**GOOD, "layers": "6"}, "lies outside"),
    ({**GOOD, "layers": "2.0"}, "no whole number"),
    ({**GOOD, "layers": "1" * 400}, "no whole number"),
    ({**GOOD, "opt": "Adam"}, "not in the list"),
    ({**GOOD, "batch": "17"}, "not in the list"),
    ({**GOOD, "other": "1"}, "not in the search space"),
    ({key: GOOD[key] for key in ("lr", "layers", "opt")}, "no value for batch"),
    ({}, "no value for lr"),
    ({**GOOD, "opt": "x" * 100_001}, "more than 100000 bytes"),
    ({**GOOD, "opt": "a\0b"}, "NUL"),
]


@pytest.mark.parametrize(("values", "part"), BAD_VALUES, ids=[part for _, part in BAD_VALUES])
async def test_bad_values(stranger: Any, serve: Any, values: dict[str, str], part: str) -> None:
    """[C14] An answer with one bad value is refused whole, saying which; the next good one is used."""
    service = Service(stranger)
    service.answers = [service.reply(GOOD, values), service.reply(GOOD, GOOD)]
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        with pytest.raises(errors.BrokenAnswerError, match=part):
            await client.suggest(request(account()))
        assert len((await client.suggest(request(account()))).assignments) == 2
        await client.close()


def _with(service: Service, change: Callable[[Any], Any]) -> Any:
    reply = service.reply(GOOD, GOOD)
    change(reply)
    return reply


BAD_REPLIES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda r: r.parameter_assignments.add().CopyFrom(r.parameter_assignments[0]), "3 assignments for 2"),
    (lambda r: r.parameter_assignments[0].assignments.add(name="lr", value="0.05"), "second 'lr'"),
    (lambda r: setattr(r.parameter_assignments[1], "trial_name", "a/b"), "no DNS label"),
    (lambda r: setattr(r.parameter_assignments[1], "trial_name", "a" * 64), "no DNS label"),
    (lambda r: setattr(r.parameter_assignments[1], "trial_name", "Upper"), "no DNS label"),
    (lambda r: setattr(r.parameter_assignments[1], "trial_name", "t0"), "is taken"),
    (lambda r: [setattr(a, "trial_name", "same") for a in r.parameter_assignments], "is taken"),
    (lambda r: r.parameter_assignments[0].labels.update({"a": "x" * 64}), "not allowed by Kubernetes"),
    (lambda r: r.parameter_assignments[0].labels.update({"katib.kubeflow.org/experiment": "x"}), "reserved"),
    (lambda r: r.parameter_assignments[0].labels.update({"bad key": "x"}), "not allowed by Kubernetes"),
    (lambda r: r.parameter_assignments[0].labels.update({f"k{i}": "x" for i in range(33)}), "33 labels"),
    (lambda r: [r.algorithm.algorithm_settings.add(name="a", value="x") for _ in range(2)], "second 'a'"),
    (lambda r: r.algorithm.algorithm_settings.add(name="", value="x"), "without a name"),
    (
        lambda r: [r.algorithm.algorithm_settings.add(name=f"s{i}", value="x" * 90_000) for i in range(3)],
        "characters of algorithm",
    ),
    (lambda r: [r.algorithm.algorithm_settings.add(name=f"s{i}") for i in range(201)], "201 algorithm settings"),
]


@pytest.mark.parametrize(("change", "part"), BAD_REPLIES, ids=[part for _, part in BAD_REPLIES])
async def test_bad_replies(stranger: Any, serve: Any, change: Callable[[Any], Any], part: str) -> None:
    """[C14] Too many assignments, names, labels and settings that may not be used make the whole answer broken."""
    service = Service(stranger)
    service.answers = [_with(service, change)]
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        with pytest.raises(errors.BrokenAnswerError, match=part):
            await client.suggest(request(account(record(0)), 1, 2))
        await client.close()


BAD_BYTES = [
    (b"\xff\xff\xff", "are no GetSuggestionsReply message"),
    (b"\x0a" + b"\x80" * 9, "are no GetSuggestionsReply message"),
    (b"\x1a\x00" * 5_000_000, "10000000 bytes"),
]


@pytest.mark.parametrize(("raw", "part"), BAD_BYTES, ids=["garbage", "cut", "10 MB"])
async def test_bad_bytes(stranger: Any, serve: Any, raw: bytes, part: str) -> None:
    """[C14] Bytes that are no message, and 10 MB of them, are a broken answer."""
    service = Service(stranger, raw)
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        with pytest.raises(errors.BrokenAnswerError, match=part):
            await client.suggest(request(account()))
        await client.close()


async def test_where_katibs_own_services_leave_the_space(stranger: Any, serve: Any) -> None:
    """Normal distributions, steps and Hyperband's resource may go beyond the bounds, as Katib's services do."""
    parameters = [
        {"name": "n", "parameterType": "double", "feasibleSpace": {"min": "1", "max": "2", "distribution": "normal"}},
        {"name": "q", "parameterType": "double", "feasibleSpace": {"min": "0.1", "max": "0.9", "step": "0.25"}},
        {"name": "epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "1"}},
    ]
    algorithm = {"algorithmName": "hyperband", "algorithmSettings": [{"name": "resource_name", "value": "epochs"}]}
    service = Service(stranger)
    service.answers = [service.reply({"n": "7.5", "q": "0.0", "epochs": "27"})]
    asked = port.Request(subject(parameters=parameters, algorithm=algorithm), account(), 0, 1)
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        assert len((await client.suggest(asked)).assignments) == 1
        await client.close()


RULES: list[tuple[dict[str, Any], str]] = [
    ({"name": "acc", "value": "0.5", "comparison": 2, "start_step": 4}, ""),
    ({"name": "acc", "value": "0.5", "comparison": 0, "start_step": 4}, ""),
    ({"name": "acc", "value": "x"}, "must be a finite number"),
    ({"name": "a;b", "value": "1"}, "must be the name of a metric"),
    ({"name": "acc", "value": "1", "comparison": 9}, "must be one of"),
    ({"name": "acc", "value": "1", "start_step": -1}, "at least 0"),
]


@pytest.mark.parametrize(("fields", "part"), RULES)
async def test_early_stopping(stranger: Any, serve: Any, fields: dict[str, Any], part: str) -> None:
    """The early-stopping service's rules go to every assignment of the batch; bad rules break the answer, the assignments are kept."""
    service = Service(stranger)
    service.answers = [service.reply(GOOD, GOOD)]
    seen: list[Any] = []

    async def rules(raw: bytes, context: Any) -> bytes:
        seen.append(stranger.pb.GetEarlyStoppingRulesRequest.FromString(raw))
        reply = stranger.pb.GetEarlyStoppingRulesReply()
        reply.early_stopping_rules.add(**fields)
        return reply.SerializeToString()

    async with serve({**service.methods, "GetEarlyStoppingRules": rules}) as address:
        client = suggestions.GrpcSuggestions(address, early_stopping=address, db_manager="db:6789")
        asked = request(account(record(0)), 1, 2, early_stopping=True)
        if part:
            for _ in range(2):
                with pytest.raises(errors.BrokenAnswerError, match=part):
                    await client.suggest(asked)
        else:
            reply = await client.suggest(asked)
            comparison = {2: "less", 0: "equal"}[fields["comparison"]]
            rule = suggestion.EarlyStoppingRule(name="acc", value="0.5", comparison=comparison, start_step=4)
            assert [item.early_stopping_rules for item in reply.assignments] == [[rule], [rule]]
        await client.close()
    assert len(service.asked) == 1
    assert seen[0].db_manager_address == "db:6789"
    assert [t.name for t in seen[0].trials] == ["t0"]


async def test_early_stopping_settings(stranger: Any, serve: Any) -> None:
    """Early-stopping settings are checked by their service; with none configured the experiment is refused, not run without."""

    async def refuse(raw: bytes, context: Any) -> bytes:
        check = stranger.pb.ValidateEarlyStoppingSettingsRequest.FromString(raw)
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{check.early_stopping.algorithm_name} bad")
        return b""

    wanted = subject(earlyStopping={"algorithmName": "medianstop"})
    async with serve({"ValidateEarlyStoppingSettings": refuse}) as address:
        with_service = suggestions.GrpcSuggestions(address, early_stopping=address)
        with pytest.raises(errors.RefusedError, match="medianstop bad"):
            await with_service.validate(wanted)
        without = suggestions.GrpcSuggestions(address)
        with pytest.raises(errors.RefusedError, match="no early-stopping service"):
            await without.validate(wanted)

        async def own(_: port.Request) -> list[suggestion.EarlyStoppingRule]:
            return []

        await suggestions.GrpcSuggestions(address, rules=own).validate(wanted)
        await with_service.close()
        await without.close()


async def test_history_is_not_encoded_again(stranger: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1,000 trials of history a further ask encodes the changed trials only and stays within its time."""
    from kuttab.rpc import convert

    made = []
    original = convert.trial_message
    monkeypatch.setattr(convert, "trial_message", lambda *a: made.append(a[0].name) or original(*a))
    service = Service(stranger)
    service.answers = [service.reply(GOOD)]
    trials = account(*(record(i) for i in range(1000)))
    async with serve(service.methods) as address:
        client = suggestions.GrpcSuggestions(address)
        await client.suggest(request(trials, 1000, 1))
        assert len(made) == 1000
        made.clear()
        trials.put(record(1000, TrialState.RUNNING, objective=None, metrics=()))
        trials.put(record(3, objective=0.9))
        await client.suggest(request(trials, 1001, 1))
        assert sorted(made) == ["t1000", "t3"]
        trials.remove("t5")
        await client.suggest(request(trials, 1002, 1))
        assert len(made) == 2
        await client.close()
    names = [t.name for t in service.asked[-1].trials]
    assert names == [f"t{i}" for i in range(1001) if i != 5]


async def test_texts_of_strangers_are_shown_safely() -> None:
    """A stranger's text appears in messages quoted, short, and on one line."""
    assert answers.shown("a\nb\x1b[0m" + "x" * 200).startswith("'a\\nb\\x1b[0mxxx")
    assert len(answers.shown("x" * 10_000)) < 100

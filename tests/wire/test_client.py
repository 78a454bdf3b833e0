"""``kuttab.Client`` and ``kuttab.AsyncClient``: the same promises over a data folder and over a server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kuttab
from kuttab.api import experiment
from kuttab.base import errors
from wire import served, shell

pytestmark = pytest.mark.slow

PROGRAM = "import sys; x = float(sys.argv[1]); [print(f'loss={x + i}') for i in (2, 1, 0)]"
PATIENCE = 90.0


def document(name: str, program: str = PROGRAM, **spec: Any) -> dict[str, Any]:
    """A quick experiment whose pods stay."""
    found = shell.manifest(program, name=name, **{"resumePolicy": "LongRunning", **spec})
    found["spec"]["trialTemplate"]["retain"] = True
    return found


class ClientPromises:
    """What both worlds keep."""

    world = ""
    """Name of the fixture that gives the arguments of the client under test."""

    @pytest.fixture
    def arguments(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """The arguments of the client."""
        found: dict[str, Any] = request.getfixturevalue(self.world)
        return found

    @pytest.fixture
    def client(self, arguments: dict[str, Any]) -> Iterator[kuttab.Client]:
        """A client."""
        with kuttab.Client(**arguments) as found:
            yield found

    def test_create_wait_result(self, client: kuttab.Client) -> None:
        """An experiment made from a document runs to its end; result, trials, metrics, logs and suggestion are typed."""
        made = client.create(document("whole"))
        assert made.uid
        ended = client.wait("whole", timeout=PATIENCE)
        assert ended.status.trials_succeeded == 2
        result = client.result("whole")
        assert result.best.value == min(trial.parameters["x"] for trial in result.trials)
        assert [value for _, value in result.best.trial.curve] == [result.best.value + step for step in (2, 1, 0)]
        trials = client.trials("whole")
        assert [trial.name for trial in trials] == [trial.name for trial in result.trials]
        rows = client.metrics(trials[0].name, "loss")
        assert [float(row.value) for row in rows] == [result.trials[0].parameters["x"] + step for step in (2, 1, 0)]
        assert client.logs(trials[0].name).count("loss=") == 3
        assert client.logs(trials[0].name, tail=1).strip() == f"loss={rows[-1].value}"
        assert client.trial(trials[0].name).uid == trials[0].uid
        assert client.suggestion("whole").status.suggestion_count == 2
        assert [item.name for item in client.list() if item.name == "whole"] == ["whole"]

    def test_a_budget_is_edited_and_the_experiment_goes_on(self, client: kuttab.Client) -> None:
        """A larger budget starts a finished experiment again, for exactly the trials that are missing."""
        client.create(document("longer", maxTrialCount=1, parallelTrialCount=1))
        client.wait("longer", timeout=PATIENCE)
        edited = client.edit("longer", max_trials=3)
        assert edited.spec.max_trial_count == 3
        ended = client.wait("longer", timeout=PATIENCE, until=lambda item: item.status.trials_succeeded == 3)
        assert ended.status.trials == 3
        with pytest.raises(errors.BadInputError, match="give max_trials, parallel or max_failed"):
            client.edit("longer")
        with pytest.raises(errors.BadInputError, match="maxTrialCount"):
            client.edit("longer", max_trials=2)

    def test_pause_resume_stop(self, client: kuttab.Client, tmp_path: Path) -> None:
        """A paused experiment says so and goes on after resume; stopping ends it with what there is, and only once."""
        endless = "import time; print('loss=1', flush=True); time.sleep(60)"
        client.create(document("held", endless, suspend=True, maxTrialCount=4))
        assert client.pause("held").spec.suspend
        resumed = client.resume("held")
        assert not resumed.spec.suspend
        client.wait("held", timeout=PATIENCE, until=lambda item: item.status.trials_running > 0)
        assert client.stop("held").spec.stop
        ended = client.wait("held", timeout=PATIENCE)
        assert ended.status.trials_succeeded == 0
        with pytest.raises(errors.BadInputError, match="has ended already"):
            client.stop("held")

    def test_apply_and_delete(self, client: kuttab.Client, tmp_path: Path) -> None:
        """A file is applied, applied again without effect, and with a larger budget; other changes are refused; delete takes all."""
        path = shell.write(tmp_path, document("filed", suspend=True))
        (first,) = client.apply(path)
        (again,) = client.apply(path)
        assert first.uid == again.uid
        assert first.metadata.generation == again.metadata.generation
        (more,) = client.apply(shell.write(tmp_path, document("filed", suspend=True, maxTrialCount=9)))
        assert isinstance(more, experiment.Experiment)
        assert more.spec.max_trial_count == 9
        other = document(
            "filed", suspend=True, maxTrialCount=9, objective={"type": "maximize", "objectiveMetricName": "loss"}
        )
        with pytest.raises(errors.BadInputError, match="cannot be changed"):
            client.apply(shell.write(tmp_path, other))
        client.delete("filed")
        with pytest.raises(errors.NotFoundError):
            client.get("filed")
        assert "filed" not in [item.name for item in client.list()]

    def test_warm_start(self, client: kuttab.Client) -> None:
        """An experiment starts from another one of the same world, by its name."""
        client.create(document("old", suspend=None))
        client.wait("old", timeout=PATIENCE)
        settings = {"algorithmName": "tpe", "algorithmSettings": [{"name": "random_state", "value": "1"}]}
        made = client.create(document("new", algorithm=settings), warm_start="old")
        assert made.spec.warm_start is not None
        assert client.wait("new", timeout=PATIENCE).status.trials_succeeded == 2

    def test_errors_name_what_is_wrong(self, client: kuttab.Client) -> None:
        """Unknown names, wrong documents, twice the same name and too little patience each have their error."""
        with pytest.raises(errors.NotFoundError):
            client.get("nothing")
        with pytest.raises(errors.NotFoundError):
            client.logs("nothing")
        wrong = document("wrong", parallelTrialCount="two", maxTrailCount=3)
        with pytest.raises(errors.InvalidError) as caught:
            client.create(wrong)
        assert {problem.path for problem in caught.value.problems} == {"spec.parallelTrialCount", "spec.maxTrailCount"}
        with pytest.raises(errors.BadInputError, match="it needs apiVersion"):
            client.create({"spec": {}})
        client.create(document("twice", suspend=True))
        with pytest.raises(errors.AlreadyExistsError):
            client.create(document("twice", suspend=True))
        with pytest.raises(errors.DeadlineError, match=r"within 0\.3 s"):
            client.wait("twice", timeout=0.3)
        client.delete("twice")

    async def test_the_asynchronous_client_is_the_same(self, arguments: dict[str, Any]) -> None:
        """It runs in the caller's loop: two waits at once, one of them given up, and the other one gets its answer."""
        async with kuttab.AsyncClient(**arguments) as client:
            await client.create(document("one"))
            await client.create(document("two", suspend=True))
            given_up = asyncio.create_task(client.wait("two"))
            ended = await client.wait("one", timeout=PATIENCE)
            assert ended.status.trials_succeeded == 2
            given_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await given_up
            assert (await client.get("two")).spec.suspend
            await client.delete("two")

    def test_a_closed_client_says_so(self, arguments: dict[str, Any]) -> None:
        """After close every call is refused; closing twice does nothing; no thread is left."""
        client = kuttab.Client(**arguments)
        client.close()
        client.close()
        with pytest.raises(errors.BadInputError, match="has been closed"):
            client.list()
        assert not [thread for thread in threading.enumerate() if thread.name == "kuttab-client" and thread.is_alive()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A data folder that nobody runs."""
    return {"data": tmp_path_factory.mktemp("folder")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A folder that ``kuttab serve`` serves."""
    pytest.importorskip("lightkube", reason="lightkube is not installed")
    with served.running(tmp_path_factory.mktemp("served")) as found:
        yield {"kubeconfig": found.kubeconfig, "db_manager": found.said["dbManager"]}


class TestFolder(ClientPromises):
    """A data folder: this process runs it while it waits."""

    world = "folder"


class TestServer(ClientPromises):
    """``kuttab serve``, by kubeconfig."""

    world = "server"


def test_the_owner_of_a_folder_is_reached_through_its_socket(tmp_path: Path) -> None:
    """While another process serves the folder, a client of the folder talks to it: waiting follows its watch, nothing is locked out."""
    with served.running(tmp_path / "data") as server, kuttab.Client(data=tmp_path / "data") as client:
        client.create(document("shared"))
        assert client.wait("shared", timeout=PATIENCE).status.trials_succeeded == 2
        assert len(client.metrics(client.trials("shared")[0].name)) == 3
        with pytest.raises(errors.InvalidError) as caught:
            client.create(document("bad", objective={"type": "sideways", "objectiveMetricName": "loss"}))
        assert [problem.path for problem in caught.value.problems] == ["spec.objective.type"]
        client.create(document("left", suspend=True))
        began = time.monotonic()
        waiting: list[Any] = []
        thread = threading.Thread(target=lambda: waiting.append(_ended(client)))
        thread.start()
        client.wait("left", timeout=PATIENCE, until=lambda item: bool(item.status.conditions))
        assert server.stop()[0] == 0
        client.resume("left")
        thread.join(PATIENCE)
        assert waiting, f"nothing after {time.monotonic() - began:.0f} s"
        assert waiting[0].status.trials_succeeded == 2


def _ended(client: kuttab.Client) -> Any:
    try:
        return client.wait("left", timeout=PATIENCE)
    except errors.KuttabError as problem:
        return problem


def test_url_and_token(tmp_path: Path) -> None:
    """A server is also reached by address and token; a wrong token is refused."""
    pytest.importorskip("lightkube", reason="lightkube is not installed")
    with served.running(tmp_path) as server:
        token = Path(server.said["tokenFile"]).read_text().strip()
        with kuttab.Client(url=server.said["url"], token=token) as client:
            assert client.list() == []
            client.create(document("plain"))
            client.wait("plain", timeout=PATIENCE)
            with pytest.raises(errors.BadInputError, match="db_manager: give the address"):
                client.metrics(client.trials("plain")[0].name)
        with (
            kuttab.Client(url=server.said["url"], token="wrong") as client,
            pytest.raises(errors.KuttabError, match=r"(?i)unauthorized|token"),
        ):
            client.list()


def test_arguments_that_contradict_each_other(tmp_path: Path) -> None:
    """One world at a time, an address that is one, a kubeconfig that can be read."""
    with pytest.raises(errors.BadInputError, match="give one of data, kubeconfig and url"):
        kuttab.Client(data=tmp_path, url="http://127.0.0.1:1")
    pytest.importorskip("lightkube", reason="lightkube is not installed")
    with pytest.raises(errors.BadInputError, match="expected http://HOST:PORT"):
        kuttab.Client(url="127.0.0.1:6780")
    with pytest.raises(errors.BadInputError, match="cannot be used"):
        kuttab.Client(kubeconfig=tmp_path / "none")

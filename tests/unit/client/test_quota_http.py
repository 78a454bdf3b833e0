"""The call-out to a quota service, against a real one that answers well, wrongly, slowly or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import types

import pytest

from kuttab.api import kinds
from kuttab.base import clock, errors
from kuttab.client import quota_http, quota_journal, quota_wire
from kuttab.ports.quota import Verdict
from kuttab.testing import builders
from quota_servers import Server


def job():
    """A Job that asks for half a core."""
    document = builders.job_document()
    document["metadata"] = {"name": "t", "namespace": "default"}
    document["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "500m", "memory": "1Gi"}}
    return kinds.load(document)


def trial(uid="u1", name="t"):
    """As much of a trial as the question holds."""
    metadata = types.SimpleNamespace(label=lambda key: "search")
    return types.SimpleNamespace(uid=uid, name=name, namespace="team", metadata=metadata)


class Watch(clock.SystemClock):
    """A clock that stands until it is moved."""

    time = 1000.0

    def monotonic(self):
        """Seconds, as set."""
        return self.time


@contextlib.asynccontextmanager
async def asking(server, folder, *, living=(), token="", watch=None):
    """A client of that service, at work."""
    where = quota_wire.Endpoint.parse(server.url, token)
    quota = quota_http.HttpQuota(where, folder / "journal", watch or clock.SystemClock())
    quota.open(living)
    task = asyncio.create_task(quota.run())
    try:
        yield quota
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await quota.close()


async def until(condition):
    """Wait for something that happens in the background."""
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen in time")


async def test_the_question_says_who_asks_and_for_what(tmp_path):
    """One JSON document with trial, kind, replicas and resources, a bearer token when there is one, and the answer is taken."""
    async with Server().serving() as server, asking(server, tmp_path, token="secret") as quota:
        assert (await quota.check(trial(), job())).verdict is Verdict.ADMIT
        [question] = server.questions
        head = question.pop("head")
        assert question == {
            "verb": "check",
            "trial": {"uid": "u1", "namespace": "team", "name": "t", "experiment": "search"},
            "workload": {"apiVersion": "batch/v1", "kind": "Job", "replicas": 1},
            "resources": {"cpus": 0.5, "memory": 2**30, "gpus": 0},
        }
        assert head.startswith("POST /quota HTTP/1.1\r\n")
        assert "Authorization: Bearer secret" in head
        await quota.check(trial(), job())
        assert len(server.questions) == 1


HUGE = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000
DRIP = [b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", *[b" "] * 10_000]
GARBAGE = {
    "500": 500,
    "403": 403,
    "404": 404,
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "nothing": None,
    "drip": DRIP,
    "too large": HUGE,
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
    "no HTTP": b"\x00\x01\x02\r\n\r\n",
    "closed": b"",
    "html": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"[" * 60000,
    "no verdict": {},
    "other verdict": {"verdict": "perhaps"},
    "verdict of a type": {"verdict": ["admit"]},
    "retry is text": {"verdict": "wait", "retryAfterSeconds": "soon"},
    "retry is true": {"verdict": "wait", "retryAfterSeconds": True},
    "retry is endless": b'HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n{"verdict": "wait", "retryAfterSeconds": 1e999}',
    "deadline is text": {"verdict": "wait", "deadlineSeconds": "2026"},
    "status is no number": b"HTTP/1.1 two OK\r\n\r\n",
    "chunks that lie": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", list(GARBAGE))
async def test_whatever_a_service_does_wrong_means_wait(tmp_path, monkeypatch, name):
    """An error, silence, a redirect, a drip, too much, or nonsense is a wait with its reason, asked again later, never a rejection."""
    monkeypatch.setattr(quota_http, "TIMEOUT", 0.3)
    answers = [GARBAGE[name]]
    script = lambda question: answers.pop(0) if answers else ...  # noqa: E731
    watch = Watch()
    async with Server(script=script).serving() as server, asking(server, tmp_path, watch=watch) as quota:
        first = await quota.check(trial(), job())
        if first.reason == "the quota service has not answered yet":
            heard = asyncio.Event()
            quota.on_answer = lambda *_: heard.set()
            async with asyncio.timeout(20):
                await heard.wait()
            first = await quota.check(trial(), job())
        assert first.verdict is Verdict.WAIT
        assert first.reason.startswith("the quota service ")
        assert first.retry_after == quota_http.FIRST
        again = await quota.check(trial(), job())
        assert (again.verdict, again.reason) == (Verdict.WAIT, first.reason)
        assert again.retry_after <= quota_http.FIRST
        assert len(server.questions) == 1
        watch.time += again.retry_after
        assert (await quota.check(trial(), job())).verdict is Verdict.ADMIT


async def test_a_service_that_is_not_there_means_wait_and_the_delay_grows(tmp_path, monkeypatch):
    """Nobody listening is a wait; each failure doubles the delay up to its limit."""
    monkeypatch.setattr(quota_http, "FIRST", 10)
    monkeypatch.setattr(quota_http, "MOST", 30)
    server, watch = Server(), Watch()
    async with server.serving():
        pass
    async with asking(server, tmp_path, watch=watch) as quota:
        delays = []
        for _ in range(4):
            decision = await quota.check(trial(), job())
            assert decision.verdict is Verdict.WAIT
            assert "cannot be reached" in decision.reason
            delays.append(decision.retry_after)
            watch.time += decision.retry_after
        assert delays == [10, 20, 30, 30]


async def test_answers_are_bounded_and_fit_to_be_shown(tmp_path):
    """Delays are kept within limits and reasons are one printable line, whatever the service says."""
    said = {"verdict": "wait", "reason": "no\n\x1b[31m" + "x" * 5000, "retryAfterSeconds": -5}
    async with Server(script=lambda question: said).serving() as server, asking(server, tmp_path) as quota:
        decision = await quota.check(trial(), job())
        assert decision.retry_after == quota_http.SHORTEST
        assert decision.reason.isprintable()
        assert len(decision.reason) <= quota_http.REASON
        said["retryAfterSeconds"] = 10**8
        assert (await quota.check(trial(), job())).retry_after == quota_http.LONGEST


async def test_a_wait_beyond_the_services_own_deadline_is_a_rejection(tmp_path):
    """deadlineSeconds limits the waiting: asked again at the limit at the latest, rejected when told to wait beyond it."""
    said, watch = {"verdict": "wait", "reason": "full", "deadlineSeconds": 3}, Watch()
    async with Server(script=lambda question: said).serving() as server, asking(server, tmp_path, watch=watch) as quota:
        first = await quota.check(trial(), job())
        assert first.verdict is Verdict.WAIT
        assert first.retry_after == 3
        watch.time += 3
        last = await quota.check(trial(), job())
        assert (last.verdict, last.reason) == (
            Verdict.REJECT, "it was not admitted before the quota service's deadline: full",
        )  # fmt: skip


async def test_a_slow_answer_blocks_nobody_and_is_told_when_it_comes(tmp_path):
    """A check does not wait for a slow service; its answer is collected by the check that follows the call."""
    door = asyncio.Event()

    class Slow(Server):
        async def _say(self, writer, answer):
            await door.wait()
            await super()._say(writer, answer)

    async with Slow().serving() as server, asking(server, tmp_path) as quota:
        told = []
        quota.on_answer = lambda namespace, name: told.append((namespace, name))
        assert (await quota.check(trial(), job())).reason == "the quota service has not answered yet"
        door.set()
        await until(lambda: told)
        assert told == [("team", "t")]
        assert (await quota.check(trial(), job())).verdict is Verdict.ADMIT
        assert len(server.questions) == 1


async def test_a_release_is_told_until_it_is_heard_and_only_once(tmp_path, monkeypatch):
    """Errors do not stop a release; a trial that was never asked for is not released; a second release says nothing."""
    monkeypatch.setattr(quota_http, "FIRST", 0.01)
    bad = [500, 403, b""]
    script = lambda question: bad.pop(0) if question["verb"] == "release" and bad else ...  # noqa: E731
    async with Server(script=script).serving() as server, asking(server, tmp_path) as quota:
        await quota.check(trial(), job())
        await quota.release("u1")
        await quota.release("u1")
        await quota.release("never asked for")
        await until(lambda: server.released)
        await quota.release("u1")
        await asyncio.sleep(0.05)
        assert server.released == ["u1"]
        assert server.holds == {}


@pytest.mark.parametrize("status", [404, 410])
async def test_a_service_that_does_not_know_the_trial_has_released_it(tmp_path, status):
    """404 and 410 are as good as yes."""
    script = lambda question: status if question["verb"] == "release" else ...  # noqa: E731
    async with Server(script=script).serving() as server, asking(server, tmp_path) as quota:
        await quota.check(trial(), job())
        await quota.release("u1")
        await until(lambda: len(server.questions) == 2)
    assert quota_journal_of(tmp_path) == []


def quota_journal_of(folder):
    """What a journal holds."""
    journal = quota_journal.Journal(folder / "journal")
    journal.open()
    journal.close()
    return journal.uids


async def test_a_trial_released_while_its_question_is_out_is_released_after_it(tmp_path):
    """The service hears the release after the question, so it cannot hold the trial for ever."""
    door = asyncio.Event()

    class Slow(Server):
        async def _say(self, writer, answer):
            await door.wait()
            await super()._say(writer, answer)

    async with Slow().serving() as server, asking(server, tmp_path) as quota:
        await quota.check(trial(), job())
        await quota.release("u1")
        door.set()
        await until(lambda: server.released)
        assert [question["verb"] for question in server.questions] == ["check", "release"]


async def test_what_a_killed_program_left_held_is_released_at_the_next_start(tmp_path):
    """Trials that were asked for and are over by now are released; those that go on are not."""
    async with Server().serving() as server:
        where = quota_wire.Endpoint.parse(server.url)
        killed = quota_http.HttpQuota(where, tmp_path / "journal", clock.SystemClock())
        killed.open(())
        for uid in ("over", "goes on"):
            await killed.check(trial(uid), job())
        with (tmp_path / "journal").open("a") as file:
            file.write("+ cu")  # the power went
        assert set(server.holds) == {"over", "goes on"}
        async with asking(server, tmp_path, living=["goes on"]) as quota:
            await until(lambda: "over" in server.released)
            assert set(server.holds) == {"goes on"}
            assert (await quota.check(trial("goes on"), job())).verdict is Verdict.ADMIT
        killed._journal.close()


async def test_a_service_that_is_away_at_the_end_is_told_at_the_next_start(tmp_path):
    """Leaving does not wait for a dead service; the journal remembers."""
    server = Server()
    async with server.serving(), asking(server, tmp_path) as quota:
        await quota.check(trial(), job())
        port = server.port
    quota = quota_http.HttpQuota(quota_wire.Endpoint.parse(server.url), tmp_path / "journal", clock.SystemClock())
    quota.open(["u1"])
    await quota.release("u1")
    await quota.close()
    assert quota_journal_of(tmp_path) == ["u1"]
    async with server.serving(port), asking(server, tmp_path):
        await until(lambda: server.released == ["u1"])


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "http://", "http://h:99999/", "http://h/a b", "http://h/\r\nX: y", "http://me:pw@h/", "http://[::1", "h:80"]
)  # fmt: skip
def test_a_url_that_cannot_be_asked_is_refused(url):
    """Only http and https, with a host, without passwords or blanks."""
    with pytest.raises(errors.BadInputError):
        quota_wire.Endpoint.parse(url)


async def test_chunked_answers_and_ones_without_an_end_are_read(tmp_path):
    """A service may answer in chunks and keep the connection open."""
    body = json.dumps({"verdict": "admit"}).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    async with Server(script=lambda question: [chunked, b""]).serving() as server, asking(server, tmp_path) as quota:
        assert (await quota.check(trial(), job())).verdict is Verdict.ADMIT


def test_a_journal_is_small_and_forgets_what_is_settled(tmp_path):
    """Settled trials are gone at the next opening, asking twice writes once, and a damaged line is passed over."""
    journal = quota_journal.Journal(tmp_path / "journal")
    journal.open()
    for uid in ("a", "b", "a"):
        journal.asked(uid)
    journal.released("a")
    journal.released("a")
    journal.close()
    assert (tmp_path / "journal").read_text() == "+ a\n+ b\n- a\n"
    (tmp_path / "journal").write_bytes(b"+ a\n+ b\n- a\n?? \xff\n+ \n- none\n")
    assert quota_journal_of(tmp_path) == ["b"]
    assert (tmp_path / "journal").read_text() == "+ b\n"
    with pytest.raises(errors.UnavailableError):
        quota_journal.Journal(tmp_path / "none" / "journal").open()

"""Reports that are handed to the node instead of being written by the trial itself: they go to the same file, and count like all others.

A report is appended to the file that ``kuttab.report`` in the trial's program would append to, at once and in one piece, and only while the
attempt runs: so whatever was taken is read before the attempt's end is written down. Nothing is judged here: the collector is asked. Who
may report for which pod is for the caller to know.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from kuttab.api import experiment
from kuttab.base import errors, log
from kuttab.collector import reporting
from kuttab.node import pod_run, pods
from kuttab.rules import reported

PATIENCE: Final = 1.0
"""Seconds that an answer waits for the collector when it is busy; then it says what was known before."""
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_SCARCE: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
)
_log = log.get(__name__)


class EndedError(errors.ObjectError):
    """The attempt of the trial has ended: nothing it reports can count any more."""

    reason = "Gone"
    http_code = 410
    grpc_code = "FAILED_PRECONDITION"


class Reports:
    """Takes the reports of the pods that run here."""

    def __init__(self, kubelet: pods.Kubelet) -> None:
        self._kubelet = kubelet
        self._seen: weakref.WeakKeyDictionary[pod_run.Run, reported.Seen] = weakref.WeakKeyDictionary()

    async def take(self, pod_uid: str, found: Sequence[reported.Report], key: str = "") -> reported.Taken:
        """Store what is new; all of it or, after any error, nothing.

        EndedError when the attempt is over, RefusedError when its collector reads no reports, InvalidError when no metric is declared,
        AlreadyExistsError for another value at the same step, UnavailableError when the machine is to blame and a repetition may help.
        """
        run = self._live(pod_uid)
        variables = _variables(run)
        subject = run.plan.trial
        objective = (subject.spec.objective if subject is not None else None) or experiment.ObjectiveSpec()
        kept, ignored = reported.declared(found, objective.metric_names)
        seen = self._seen.setdefault(run, reported.Seen())
        fresh = seen.fresh(kept, key)
        if fresh:
            as_json = variables.get(reporting.ENV_FORMAT, "").upper() == "JSON"
            self._append(Path(variables[reporting.ENV_FILE]), reported.lines(fresh, as_json=as_json))
        seen.remember(kept, key)
        stored = sum(len(report.values) for report in fresh)
        given = sum(len(report.values) for report in kept)
        return reported.Taken(stored, given - stored, ignored, await self._shall_stop(run))

    async def should_stop(self, pod_uid: str) -> bool:
        """Whether the trial is to end now: its early-stopping rules are met, or it is being ended. EndedError."""
        return await self._shall_stop(self._live(pod_uid))

    def _live(self, pod_uid: str) -> pod_run.Run:
        run = self._kubelet.runs.get(pod_uid)
        if run is None or not run.live:
            raise EndedError("this attempt of the trial has ended; what it reports now cannot count")
        return run

    def _append(self, path: Path, data: bytes) -> None:
        root = os.path.realpath(self._kubelet.settings.data_dir)
        try:
            if not Path(os.path.realpath(path.parent)).is_relative_to(root):
                raise errors.RefusedError(
                    f"the metrics file {path} leads outside the trial's folder, where nothing is read"
                )
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            file = os.open(path, _FLAGS, 0o600)
        except OSError as problem:
            raise _verdict(path, problem) from problem
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise errors.RefusedError(f"the metrics file {path} is not a regular file, so nothing is read from it")
            _write(file, data)
        except OSError as problem:
            raise _verdict(path, problem) from problem
        finally:
            os.close(file)

    async def _shall_stop(self, run: pod_run.Run) -> bool:
        """The collector's judgement of everything that was reported by now, whichever way."""
        if run.meter is None or not run.meter.judged or run.met or run.reason:
            return run.met or bool(run.reason)
        try:
            async with asyncio.timeout(PATIENCE):
                await run.lock.acquire()
        except TimeoutError:
            return run.met
        try:
            met = run.live and not run.drained and await run.meter.look()
        except Exception as problem:  # one trial's files are no reason to refuse what is stored already
            _log.warning("metrics_poll_failed", pod=run.pod.name, problem=problem)
            met = False
        finally:
            run.lock.release()
        if met and not run.met:
            run.met = True
            run.on_change()
        return run.met or bool(run.reason)


def _variables(run: pod_run.Run) -> Mapping[str, str]:
    """What the program itself would be told about reporting; RefusedError when it would be refused."""
    container = next((c for c in run.mains if c.state.name == run.plan.primary), None)
    variables: Mapping[str, str] = (
        container.prepared.command.env if container is not None and container.prepared is not None else {}
    )
    if not variables.get(reporting.ENV_FILE):
        problem = variables.get(reporting.ENV_PROBLEM, "nothing of it is measured")
        raise errors.RefusedError(f"reports of this trial would not be read: {problem}")
    return variables


def _write(file: int, data: bytes) -> None:
    """All of it or nothing: the beginning of a line could be read as a shorter number."""
    done = 0
    try:
        while done < len(data):
            done += os.write(file, data[done:])
    except OSError:
        start = os.fstat(file).st_size - done
        if done and start >= 0 and os.pread(file, done, start) == data[:done]:
            os.ftruncate(file, start)
        raise


def _verdict(path: Path, problem: OSError) -> errors.KuttabError:
    if problem.errno in _SCARCE:
        return errors.UnavailableError(f"the report could not be stored: {problem.strerror}; send it again")
    return errors.RefusedError(f"the metrics file {path} cannot be written: {problem.strerror}")

"""``kuttab.tune``: an Experiment over a Python function, run by the machine in the background, followed from the caller's thread.

It plans with ``sdk.plans``, shows with ``sdk.views`` and answers with ``sdk.results``; here is only how these meet the machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Final

from kuttab.api import experiment, keys, kinds, meta, trial
from kuttab.base import errors, ids
from kuttab.node import function_threads
from kuttab.node import functions as node_functions
from kuttab.rules import completion
from kuttab.sdk import calls, plans, results, search, typed, views
from kuttab.wiring import background, collecting, following, warming
from kuttab.wiring import settings as settings_

_PAGE: Final = 500
_TRIES: Final = 20
_LOOK: Final = 1.0
_PATIENCE: Final = 15.0
"""Seconds after which a disk that takes nothing ends the call."""


def tune(  # noqa: PLR0913 - the arguments are the product
    function: Callable[[Any], Any],
    space: Mapping[str, search.Dimension],
    *,
    objective_metric: str = "objective",
    direction: str = "minimize",
    goal: float | None = None,
    algorithm: str = "auto",
    settings: Mapping[str, Any] | None = None,
    max_trials: int | None = 50,
    parallel: int = 1,
    max_failed: int | None = None,
    timeout: float | None = None,
    trial_timeout: float | None = None,
    seed: int | None = 0,
    early_stopping: str | Mapping[str, Any] | None = None,
    warm_start: Any = None,
    reproducible: bool = False,
    retry: Mapping[str, int] | None = None,
    executor: str = "process",
    metrics: Sequence[str] = (),
    name: str | None = None,
    data: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | str | views.Callback = "auto",
) -> results.Result:
    """Search the parameters for which a Python function is best, and return what was found.

    The function gets one argument, the parameters of its trial: a dict of typed values (``p["lr"]``, also ``p.lr``). It returns a
    number, or a dict of metrics with the objective among them; or it reports while it runs (``kuttab.report(accuracy=0.9)``) and
    returns None. An exception fails its trial, never the run::

        import kuttab
        from kuttab import search

        def objective(p):
            return (p["x"] - 2) ** 2

        result = kuttab.tune(objective, {"x": search.double(-10, 10)}, max_trials=30)
        print(result.best.parameters, result.best.value)

    What to search:
        space: name to dimension: ``search.double``, ``int``, ``discrete``, ``categorical``, ``boolean``.
        objective_metric, direction: the metric to ``"minimize"`` (default) or ``"maximize"``. A plain number returned is this metric.
        metrics: further metrics to keep with each trial; by default all that were returned or reported (at most 100).
        goal: stop once the objective is this good.

    How to search:
        algorithm, settings: a name of ``kuttab algorithms`` (``"auto"``, ``"random"``, ``"tpe"``, ``"cmaes"``, ...) and its settings.
        seed: the same seed gives the same parameters, with ``parallel=1`` or ``reproducible=True``; None for another run each time.
        reproducible: make parallel runs independent of timing: proposal i sees exactly the results of trials 0 .. i - parallel. Costs idle
            time when trials differ in length.
        warm_start: earlier results to learn from, which take nothing off the budget: a ``Result``, the name of an experiment in the same
            data folder, a CSV file as ``to_csv`` writes it, or an Optuna study. Rows that do not fit the space are refused, one by one.
        early_stopping: ``"median"`` or another rule, or ``{"name": ..., setting: ...}``; acts on what ``kuttab.report`` tells.

    How much:
        max_trials: number of trials (None: no limit); parallel: how many run at once; max_failed: end the run after so many failures.
        timeout: seconds for the whole run; trial_timeout: seconds for a trial, which is killed hard then (also in C code).
        retry: attempts more for each class of failure: ``{"infrastructure": 2}`` is the default; also ``"oom"``, ``"timeout"``, ``"user"``,
            ``"nan"``. A retry keeps the parameters and takes nothing off the budget.

    Where:
        executor: ``"process"``: warm worker processes, ``parallel`` of them. ``"thread"``: threads of this process; nothing can be killed,
            output is not kept apart. ``"inline"``: in the calling thread, for a debugger.
        name: of the experiment; made up when absent. data: folder of the store; default ``$KUTTAB_HOME`` or ``./.kuttab``.
        resume: go on with the experiment of that name if it is there (after Ctrl-C, a crash, or with a larger ``max_trials``).
        progress: ``"auto"`` shows a live view on a terminal and text elsewhere; False nothing; or a function that gets a
            ``Progress`` about ten times a second, in this thread.

    Returns a ``Result``: ``.best`` (``parameters``, ``value``, ``metrics``, ``trial``), ``.trials``, ``.to_csv()``, ``.plot()``. Failed
    trials have ``reason`` (``UserError``, ``OutOfMemory``, ``DeadlineExceeded``, ``NonFinite``, ``Infrastructure``, ``Cancelled``) and
    ``message`` with the traceback. Ctrl-C returns what there is; ``resume=True`` goes on later. The experiment stays in the data folder:
    ``kuttab get experiments``, ``kuttab logs TRIAL``.

    Raises BadInputError (one line, naming the argument) before anything is started; LockedError when another process owns the folder.
    """
    calls.check(function)
    plan = plans.Plan(
        space, objective_metric, direction, goal, algorithm, settings or {}, early_stopping, max_trials, max_failed, parallel,
        timeout, trial_timeout, seed, plans.DEFAULT_RETRY if retry is None else retry, executor, reproducible, tuple(metrics),
    )  # fmt: skip
    if resume and not name:
        raise errors.BadInputError("resume: give the name of the experiment to go on with")
    name = name or plans.default_name(function, ids.digest_name(ids.random_uid(), length=6))
    view = views.make(progress)
    call = calls.Call(function, plan.readers(), objective_metric)
    place = settings_.Settings(settings_.data_folder(data))
    code = calls.pickled(call) if executor == "process" else b""
    with background.world(place) as world:
        run = _Run(world, plan, name, view)
        run.warm_start = warm_start
        return run.go(call, code, resume=resume)


class _Run:
    """One call of ``tune``, in the caller's thread."""

    def __init__(self, world: background.Background, plan: plans.Plan, name: str, view: views.View) -> None:
        self._world = world
        self._plan = plan
        self._name = name
        self._view = view
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._began = time.monotonic()
        self._failures: set[str] = set()
        self.warm_start: Any = None
        """Earlier results: whatever ``exchange.source_of`` takes."""
        self._types = typed.types_of(plan.experiment(name, name), plan.space)

    def go(self, call: calls.Call, code: bytes, *, resume: bool) -> results.Result:
        """Create or find the experiment, follow it to its end, and collect."""
        world = self._world
        subject = world.call(self._submit(resume=resume))
        with self._function(call, code), self._view:
            self._follow(subject)
        return self._collect()

    # The experiment.

    async def _submit(self, *, resume: bool) -> experiment.Experiment:
        objects = self._world.machine.objects
        wanted = self._plan.experiment(self._name, self._name)
        try:
            stored = await objects.create(await self._warmed(wanted, resume=resume))
            assert isinstance(stored, experiment.Experiment)
            await warming.own(objects, stored)
        except errors.AlreadyExistsError:
            if not resume:
                raise errors.BadInputError(
                    f"name: an experiment {self._name!r} is there already; pass resume=True to go on with it, or another name"
                ) from None
            stored = await self._adopt(wanted)
        await objects.settle()
        assert isinstance(stored, experiment.Experiment)
        return stored

    async def _warmed(self, wanted: experiment.Experiment, *, resume: bool) -> experiment.Experiment:
        """The experiment with its earlier results stored; one that is there already keeps those it started with."""
        if self.warm_start is None or (resume and await self._exists()):
            return wanted
        objects = self._world.machine.objects
        warmed, prior = await warming.started_from(objects, wanted, self.warm_start, self._plan.space)
        self._view.note(prior.told())
        return warmed

    async def _exists(self) -> bool:
        try:
            await self._get()
        except errors.NotFoundError:
            return False
        return True

    async def _adopt(self, wanted: experiment.Experiment) -> experiment.Experiment:
        """Go on with an experiment that is there, if it is the same search."""
        found = await self._get()
        argument = plans.difference(found, wanted)
        if argument:
            raise errors.BadInputError(
                f"{argument}: experiment {self._name!r} was started with another one; use the same, or another name"
            )
        changes: dict[str, Any] = {
            "suspend": None, "parallel_trial_count": self._plan.parallel, "max_failed_trial_count": self._plan.max_failed,
        }  # fmt: skip
        limit, made = self._plan.max_trials, found.status.trials
        if completion.completed(found) and not (completion.restartable(found) and (limit is None or limit > made)):
            return found
        if limit != found.spec.max_trial_count:
            if limit is not None and limit <= made:
                raise errors.BadInputError(
                    f"max_trials: experiment {self._name!r} has {made} trials already; give more, or the {found.spec.max_trial_count}"
                    " that it was started with"
                )
            changes["max_trial_count"] = limit
        return await self._edit(**changes)

    async def _get(self) -> experiment.Experiment:
        found = await self._world.machine.objects.get(kinds.EXPERIMENT, plans.NAMESPACE, self._name)
        assert isinstance(found, experiment.Experiment)
        return found

    async def _edit(self, **changes: Any) -> experiment.Experiment:
        """Change the spec, against whoever else writes."""
        for _ in range(_TRIES):
            found = await self._get()
            try:
                made = await self._world.machine.objects.update(
                    meta.evolve(found, spec=meta.evolve(found.spec, **changes))
                )
            except errors.ConflictError:
                continue
            assert isinstance(made, experiment.Experiment)
            return made
        raise errors.UnavailableError(f"experiment {self._name} is being changed by others all the time")

    # The function.

    @contextlib.contextmanager
    def _function(self, call: calls.Call, code: bytes) -> Iterator[None]:
        """The node may call the function inside."""
        logic = self._world.machine.functions.logic
        source = self._source(call, code)
        self._world.call(_in_loop(logic.register, self._name, source))
        try:
            yield
        finally:
            with contextlib.suppress(errors.UnavailableError, CancelledError):
                self._world.call(_in_loop(logic.forget, self._name))
                self._world.call(_in_loop(self._world.machine.functions.pool.release, source.target))
            if code:
                Path(source.target).unlink(missing_ok=True)

    def _source(self, call: calls.Call, code: bytes) -> node_functions.Source:
        if self._plan.executor == "thread":
            return node_functions.Source(function_threads.Local(call), self._name)
        if self._plan.executor == "inline":
            return node_functions.Source(function_threads.Local(call, self._events.put), self._name)
        folder = self._world.settings.data / "functions"
        target = folder / f"{self._name}-{hashlib.sha256(code).hexdigest()[:12]}.pickle"
        _write(folder, target, code)
        return node_functions.Source(self._world.machine.functions.pool, str(target))

    # Following.

    def _follow(self, subject: experiment.Experiment) -> None:
        following_ = self._world.submit(self._watch(subject))
        following_.add_done_callback(self._events.put)
        try:
            self._wait(following_)
        except KeyboardInterrupt:
            following_.cancel()
            self._world.call(self._edit(suspend=True))
            return
        self._world.result(following_)

    def _wait(self, over: Future[None]) -> None:
        """Handle what comes until the experiment is over."""
        stopped, sick = False, 0.0
        while True:
            left = None if stopped else self._left()
            if left == 0.0:
                self._world.call(self._edit(stop=True))
                stopped = True
            health = self._world.machine.objects.health
            sick = (sick or time.monotonic()) if health else 0.0
            if sick and time.monotonic() - sick > _PATIENCE:
                over.cancel()
                raise errors.UnavailableError(
                    f"the results cannot be stored: {health}; make room, then go on with name={self._name!r}, resume=True"
                )
            try:
                event = self._events.get(timeout=_LOOK if left is None else min(left, _LOOK))
            except queue.Empty:
                continue
            if event is over:
                return
            if isinstance(event, following.Step):
                self._show(event)
            elif callable(event):
                event()

    def _left(self) -> float | None:
        limit = self._plan.timeout
        return None if limit is None else max(0.0, limit - (time.monotonic() - self._began))

    async def _watch(self, subject: experiment.Experiment) -> None:
        async for step in following.follow(self._world.machine, subject):
            self._events.put(step)
        await self._world.machine.objects.settle()

    def _show(self, step: following.Step) -> None:
        for record in step.changed:
            if record.reason and record.reason not in self._failures and record.state.finished:
                self._failures.add(record.reason)
                self._view.failed(record.name, record.reason, self._world.call(self._message(record.name)))
        status, best = step.experiment.status, step.best
        counted = step.finished + step.active
        self._view.update(
            views.Progress(
                name=self._name,
                finished=step.finished,
                running=step.active,
                failed=min(counted, status.trials_failed + status.trial_metrics_unavailable),
                total=step.experiment.spec.max_trial_count,
                best_value=None if best is None else best.objective,
                best_parameters={} if best is None else typed.values(best.assignments, self._types),
                seconds=time.monotonic() - self._began,
            )
        )

    async def _message(self, name: str) -> str:
        try:
            found = await self._world.machine.objects.get(kinds.TRIAL, plans.NAMESPACE, name)
        except errors.NotFoundError:
            return ""
        assert isinstance(found, trial.Trial)
        return found.status.conditions[-1].message if found.status.conditions else ""

    # The end.

    def _collect(self) -> results.Result:
        subject = self._world.call(self._get())
        return results.Result.of(
            subject, self._trials(), space=self._plan.space, read=collecting.LazyRows(self._world.settings)
        )

    def _trials(self) -> Iterator[trial.Trial]:
        """Every trial, page by page, so that not all of them are in memory at once."""
        token, objects = "", self._world.machine.objects
        while True:
            page = self._world.call(
                objects.list(
                    kinds.TRIAL,
                    plans.NAMESPACE,
                    labels=f"{keys.LABEL_EXPERIMENT}={self._name}",
                    limit=_PAGE,
                    continue_token=token,
                )
            )
            for item in page.items:
                assert isinstance(item, trial.Trial)
                yield item
            token = page.continue_token
            if not token:
                return


async def _in_loop(work: Callable[..., None], *arguments: Any) -> None:
    work(*arguments)


def _write(folder: Path, target: Path, code: bytes) -> None:
    """Put a file in place as a whole."""
    folder.mkdir(0o700, parents=True, exist_ok=True)
    half = target.with_suffix(f".{os.getpid()}")
    try:
        half.write_bytes(code)
        half.replace(target)
    except OSError as problem:
        raise errors.UnavailableError(
            f"cannot write {target}: {problem.strerror}; make room, or pass another data folder"
        ) from problem

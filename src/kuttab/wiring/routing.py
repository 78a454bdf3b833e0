"""Where an experiment's assignments and early-stopping rules come from: this process, or a service that the configuration names.

The suggestion port over both. A service runs for one experiment: it is started, asked, started again when it died, and ended with the
experiment as its ``resumePolicy`` says. Until it answers, the experiment waits and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kuttab.api import experiment, meta, suggestion
from kuttab.base import errors, log
from kuttab.node import services
from kuttab.ports import observations as observation_port
from kuttab.ports import suggestion as port
from kuttab.wiring import settings as settings_
from kuttab.wiring import stopping, suggesting, warming

logger = log.get(__name__)

Address = Callable[[], Awaitable[str]]


@dataclass(slots=True)
class _Route:
    """What is kept of an experiment: its latest form, and the connections to its services."""

    subject: experiment.Experiment
    client: Any = None
    rules: Any = None

    @property
    def owner(self) -> services.Owner:
        return services.Owner(self.subject.uid, self.subject.namespace, self.subject.name)


class Router:
    """Implements ``ports.suggestion.Suggestions``. :meth:`attach` it to the node before the first experiment."""

    def __init__(
        self,
        settings: settings_.Settings,
        observations: observation_port.Observations,
        offload: suggesting.Offload = asyncio.to_thread,
        priors: warming.Priors = warming.none,
    ) -> None:
        self._settings = settings
        self._offload = offload
        self.stopping = stopping.InProcessRules(observations)
        """Our own early-stopping rules."""
        self._own = suggesting.InProcess(observations, offload, self._rules, priors)
        self._routes: dict[str, _Route] = {}
        self._hosts: services.Services | None = None
        self._db_manager: Address | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def attach(self, hosts: services.Services, db_manager: Address) -> None:
        """The node's services, and where an early-stopping service reads metrics."""
        self._hosts, self._db_manager = hosts, db_manager

    async def validate(self, subject: experiment.Experiment) -> None:
        """See the port."""
        route = self._route(subject)
        program, judge = self._program(subject), self._judge(subject)
        problems: list[errors.Problem] = []
        if program is None:
            problems += await self._offload(suggesting.algorithm_problems, subject)
        else:
            problems += warming.problems_of_service(subject)
        if judge is None:
            problems += await self._offload(suggesting.stopping_problems, subject)
        if problems:
            raise errors.RefusedError("; ".join(str(problem) for problem in problems))
        try:
            if program is not None:
                await (await self._client(route, program)).validate(subject)
            if judge is not None:
                await (await self._remote_rules(route, judge)).validate(subject)
        except errors.BadInputError as problem:  # the program itself cannot be started
            raise errors.RefusedError(problem.message) from problem

    async def suggest(self, request: port.Request) -> port.Reply:
        """See the port."""
        subject = request.experiment
        route, program = self._route(subject), self._program(subject)
        if program is None:
            return await self._own.suggest(request)
        client = await self._ready(self._client(route, program))
        try:
            reply: port.Reply = await client.suggest(request)
        except errors.DeadlineError:
            assert self._hosts is not None
            await self._hosts.check(route.owner, program.role)
            raise
        return reply

    async def release(self, uid: str) -> None:
        """See the port: the service is ended too, unless the experiment is LongRunning."""
        route = self._routes.get(uid)
        if route is None or route.subject.spec.resume_policy != experiment.ResumePolicy.LONG_RUNNING:
            await self.end(uid)

    async def end(self, uid: str) -> None:
        """End an experiment's services and forget it; their state stays until the experiment is deleted."""
        route = self._routes.pop(uid, None)
        await self._own.release(uid)
        self.stopping.forget(uid)
        if route is None:
            return
        for connection in (route.client, route.rules):
            if connection is not None:
                await connection.close()
        if self._hosts is not None:
            await self._hosts.end(uid)

    def heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        """News of experiments: the services of one that was deleted go with it."""
        if new is None and old is not None:
            task = asyncio.ensure_future(self._remove(services.Owner(old.uid, old.namespace, old.name)))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Close connections and end every service; state stays for the next start."""
        await asyncio.gather(*self._ending)
        routes, self._routes = self._routes, {}
        for route in routes.values():
            for connection in (route.client, route.rules):
                if connection is not None:
                    await connection.close()
        if self._hosts is not None:
            await self._hosts.close()

    async def _remove(self, owner: services.Owner) -> None:
        try:
            await self.end(owner.uid)
            if self._hosts is not None:
                await self._hosts.remove(owner)
        except errors.KuttabError as problem:
            logger.warning("service_not_removed", experiment=owner.name, problem=problem)

    def _route(self, subject: experiment.Experiment) -> _Route:
        route = self._routes.get(subject.uid)
        if route is None:
            route = self._routes[subject.uid] = _Route(subject)
        route.subject = subject
        return route

    def _program(self, subject: experiment.Experiment) -> services.Program | None:
        algorithm = subject.spec.algorithm
        return self._settings.algorithms.get(algorithm.algorithm_name) if algorithm is not None else None

    def _judge(self, subject: experiment.Experiment) -> services.Program | None:
        algorithm = subject.spec.early_stopping
        return self._settings.early_stoppings.get(algorithm.algorithm_name) if algorithm is not None else None

    async def _client(self, route: _Route, program: services.Program) -> Any:
        from kuttab.rpc import suggestions

        assert self._hosts is not None
        address = await self._hosts.address(route.owner, program)
        if route.client is None:
            route.client = suggestions.GrpcSuggestions(address, rules=self._rules, timeout=program.timeout)
        await route.client.move(address)
        return route.client

    async def _remote_rules(self, route: _Route, program: services.Program) -> Any:
        from kuttab.rpc import stopping as remote

        assert self._hosts is not None
        assert self._db_manager is not None
        address = await self._hosts.address(route.owner, program)
        if route.rules is None:
            route.rules = remote.GrpcRules(address, self._db_manager, timeout=program.timeout)
        await route.rules.move(address)
        return route.rules

    async def _rules(self, request: port.Request) -> Sequence[suggestion.EarlyStoppingRule]:
        """Rules for new trials, from wherever the experiment's early stopping lives."""
        judge = self._judge(request.experiment)
        if judge is None:
            return await self.stopping.rules(request)
        route = self._route(request.experiment)
        remote = await self._ready(self._remote_rules(route, judge))
        try:
            found: Sequence[suggestion.EarlyStoppingRule] = await remote.rules(request)
        except errors.DeadlineError:
            assert self._hosts is not None
            await self._hosts.check(route.owner, judge.role)
            raise
        return found

    async def _ready(self, connection: Awaitable[Any]) -> Any:
        """A program that cannot be started in the middle of an experiment may be back soon: that is a delay."""
        try:
            return await connection
        except errors.BadInputError as problem:
            raise errors.UnavailableError(problem.message) from problem

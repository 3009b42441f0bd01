"""Where each phase of a session runs: in the host, or in a pool of phase actors.

Knows Ray and time-outs; knows nothing of what a phase does. Invariant: a replica that is behind is restored
from the log, then the same call is made again, so a restarted phase actor is only slower, never wrong."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

import ray
from ray.exceptions import RayActorError, RayTaskError

from loops.context import Context
from loops.errors import Behind, Diverged, EnvironmentFailed
from loops.history import divergence, episode, transitions
from loops.ports import PhaseMethod, Step
from loops.spaces import Spaces
from runtime.compose import Phases, compose
from runtime.errors import Unavailable
from runtime.scenario import HOST, Phase, Pool, Scenario, parse_scenario
from telemetry.events.values import EffectClass
from telemetry.log import EventLog

P = ParamSpec("P")
T = TypeVar("T")
PhaseT = TypeVar("PhaseT")

Handle: TypeAlias = Any
"""A Ray actor handle. Ray's own type says that methods which are not decorated for it never return."""

PAGE = 512
"""Transitions sent to a replica at a time."""
POOL_TIMEOUT_S = 120.0
"""How long a pool waits for resources that others hold now."""
RESTORE_TIMEOUT_S = 600.0
"""How long a replica may take to come up from the log: an episode of 26 million frames at 23 µs each."""
ROUNDING = 1e-6
"""Ray counts resources in ten-thousandths; sums of floats are off by less."""
RESTART_ATTEMPTS = 8
"""Calls made to a phase actor that keeps dying, a second apart at most, before the session gives up."""


class PhaseActor:
    """A Ray actor that hosts the phases of one scenario for the sessions routed to it."""

    def __init__(self, scenario_text: str) -> None:
        self._phases: Phases = compose(parse_scenario(scenario_text, source="scenario").scenario)

    def ping(self) -> None:
        """Answers once the actor has its resources and its phases are made."""

    def run(self, phase: Phase, method: str, context: Context, *args: object) -> object:
        return getattr(getattr(self._phases, phase), method)(context, *args)

    def steps(self, methods: Sequence[tuple[Phase, str]], context: Context) -> list[Step]:
        """The answers of several methods, each called in the context that the ones before it left."""
        done: list[Step] = []
        for phase, method in methods:
            began = time.perf_counter_ns()
            events = getattr(getattr(self._phases, phase), method)(context)
            done.append(Step(events, time.perf_counter_ns() - began))
            context = context.after(events)
        return done

    def restore_model(self, context: Context, page: list[Any], *, begin: bool) -> None:
        self._phases.models.restore(context, page, begin=begin)

    def restore_world(self, context: Context, shown: str, taken: list[Any]) -> None:
        self._phases.worlds.restore(context, shown, taken)

    def describe(self, stream: str) -> tuple[Spaces, EffectClass]:
        return self._phases.worlds.describe(stream)

    def forget(self, stream: str) -> None:
        self._phases.forget(stream)


class Placement:
    """The phases of one scenario in one host, and the pools that the scenario asks for."""

    def __init__(self, scenario: Scenario, text: str, log: EventLog, threads: ThreadPoolExecutor) -> None:
        self.scenario = scenario
        self.local = compose(scenario)
        self._log = log
        self._threads = threads
        self._text = text
        self._pools: Mapping[str, list[Handle]] = {}

    async def start_pools(self, *, growth_patience_s: float) -> None:
        """Starts the phase actors that the scenario places phases in, and returns when each answers.

        Raises `Unavailable` at once when the cluster does not have what they ask for, unless there is patience
        for it to grow; and after POOL_TIMEOUT_S when others have taken it."""
        wanted = {name: pool for name, pool in self.scenario.pools.items() if name in self.scenario.placement.values()}
        if not wanted:
            return
        if not growth_patience_s:
            await asyncio.to_thread(check_room, wanted)
        limit_s = max(POOL_TIMEOUT_S, growth_patience_s)
        pools = {name: [_start(pool, self._text) for _ in range(pool.actors)] for name, pool in wanted.items()}
        actors = [actor for pool in pools.values() for actor in pool]
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(_remote(actor.ping.remote) for actor in actors))
        except (TimeoutError, Unavailable) as error:
            for actor in actors:
                ray.kill(actor)
            raise Unavailable(
                f"the pools ask for {_sum(wanted)}; they did not start within {limit_s:g} s, others may hold it or a "
                f"phase actor cannot live: {error}. Nothing was written"
            ) from error
        self._pools = pools

    async def run(
        self,
        method: Callable[Concatenate[PhaseT, Context, P], T],
        context: Context,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Calls `method` of its phase where that is placed. Raises `EnvironmentFailed` (timeout) when it hangs."""
        phase, name = _named(method)
        actor = self._actor(phase, context.stream)
        answer = await self._ready(actor, context, lambda: self._call(actor, phase, name, context, *args))
        return cast(T, answer)

    async def steps(self, now: Callable[[], Context], methods: Sequence[PhaseMethod]) -> AsyncIterator[Step]:
        """As `PhaseRunner.steps`."""
        stream = now().stream
        for actor, neighbours in itertools.groupby(methods, key=lambda method: self._actor(_named(method)[0], stream)):
            if actor is None:
                for method in neighbours:
                    began = time.perf_counter_ns()
                    events = await self.run(method, now())
                    yield Step(events, time.perf_counter_ns() - began)
            else:
                for step in await self._remote_steps(actor, now(), [_named(method) for method in neighbours]):
                    yield step

    async def _remote_steps(self, actor: Handle, context: Context, named: list[tuple[Phase, str]]) -> list[Step]:
        limit_s = sum(self.scenario.timeouts.of(phase) for phase, _ in named)
        call = partial(actor.steps.remote, named, context)
        phases = ", ".join(dict.fromkeys(phase for phase, _ in named))
        return await self._ready(actor, context, lambda: _within(limit_s, phases, actor, _remote(call)))

    async def _ready(self, actor: Handle | None, context: Context, call: Callable[[], Awaitable[T]]) -> T:
        """The answer to `call`, made again once its replica is restored when that was behind."""
        for _ in range(3):
            try:
                return await call()
            except Behind as behind:
                await self._restore_in_time(actor, behind, context)
        raise Unavailable(f"{context.stream}: a replica stays behind after it was restored three times")

    async def _call(self, actor: Handle | None, phase: Phase, name: str, context: Context, *args: object) -> object:
        limit_s = self.scenario.timeouts.of(phase)
        call: Awaitable[object]
        if actor is None:
            bound = getattr(getattr(self.local, phase), name)
            if phase != "execute" or self.local.worlds.instant(context.stream):
                return bound(context, *args)
            call = asyncio.get_running_loop().run_in_executor(self._threads, bound, context, *args)
        else:
            call = _remote(lambda: actor.run.remote(phase, name, context, *args))
        return await _within(limit_s, phase, actor, call)

    async def _restore_in_time(self, actor: Handle | None, behind: Behind, context: Context) -> None:
        try:
            async with asyncio.timeout(RESTORE_TIMEOUT_S):
                await self._restore(actor, behind, context)
        except TimeoutError as error:
            raise Unavailable(
                f"{context.stream}: rebuilding the {behind.replica} from the log took more than "
                f"{RESTORE_TIMEOUT_S:g} s. The log is intact"
            ) from error

    async def _restore(self, actor: Handle | None, behind: Behind, context: Context) -> None:
        if behind.replica == "environment":
            shown, taken = await asyncio.to_thread(episode, self._log, context.stream)
            try:
                if actor is None:
                    await asyncio.to_thread(self.local.worlds.restore, context, shown, taken)
                else:
                    await _remote(lambda: actor.restore_world.remote(context, shown, taken))
            except Diverged as error:
                size = await asyncio.to_thread(divergence, self._log, context.stream, error)
                raise Diverged(f"{error}. {size}", error.recorded, error.shown) from None
            return
        past = transitions(self._log, context.stream)
        for begin in itertools.chain((True,), itertools.repeat(False)):
            page = await asyncio.to_thread(lambda: list(itertools.islice(past, PAGE)))
            if not page and not begin:
                return
            if actor is None:
                self.local.models.restore(context, page, begin=begin)
            else:
                await _remote(partial(actor.restore_model.remote, context, page, begin=begin))

    def _actor(self, phase: Phase, stream: str) -> Handle | None:
        pool = self.scenario.placement.get(phase, HOST)
        if pool == HOST:
            return None
        actors = self._pools[pool]
        return actors[int.from_bytes(stream.encode()[-8:], "big") % len(actors)]

    async def describe(self, stream: str) -> tuple[Spaces, EffectClass]:
        """The spaces of the session's environment and the class of its effects."""
        actor = self._actor("execute", stream)
        described: Awaitable[tuple[Spaces, EffectClass]]
        if actor is None:
            described = asyncio.get_running_loop().run_in_executor(self._threads, self.local.worlds.describe, stream)
        else:
            described = _remote(lambda: actor.describe.remote(stream))
        limit_s = self.scenario.timeouts.execute_s
        try:
            return await asyncio.wait_for(described, limit_s)
        except TimeoutError as error:
            raise EnvironmentFailed(f"the environment was not made within {limit_s:g} s", "timeout") from error

    def forget(self, stream: str) -> None:
        """Frees what is kept for a session, here and in the pools."""
        self.local.forget(stream)
        for pool in set(self.scenario.placement.values()) - {HOST}:
            for actor in self._pools[pool]:
                actor.forget.remote(stream)


def _named(method: Callable[..., object]) -> tuple[Phase, str]:
    """The phase and the name of a phase class's method: the five classes carry the phases' names."""
    owner, _, name = method.__qualname__.partition(".")
    return cast(Phase, owner.lower()), name


async def _within(limit_s: float, what: str, actor: Handle | None, call: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(call, limit_s)
    except TimeoutError as error:
        if actor is not None:
            ray.kill(actor, no_restart=False)  # a hung phase would keep every other session of the actor waiting
        raise EnvironmentFailed(f"{what} did not answer within {limit_s:g} s", "timeout") from error


def check_room(pools: Mapping[str, Pool]) -> None:
    """Raises `Unavailable` when this host and its pools can't fit the cluster as it stands, even if it were idle."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray's
    held = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]  # Ray's
    for kind in ("CPU", "GPU"):
        sizes = [_asked(pool)[kind] for pool in pools.values() for _ in range(pool.actors)]
        there = sum(node.get(kind, 0.0) for node in nodes)
        largest = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        mine = held.get(kind, 0.0)
        if sum(sizes) + mine > there + ROUNDING or max(sizes) > largest:
            raise Unavailable(
                f"the pools ask for {_sum(pools)} beside the host's {mine:g} {kind}s; this cluster has {there:g} "
                f"{kind}s, {largest:g} on one node. Nothing was written. Ask for less in [pools] (cpus, gpus, actors), "
                "or set growth_patience_s on a cluster that grows"
            )


def _asked(pool: Pool) -> dict[str, float]:
    """What one actor of the pool asks for."""
    return {"CPU": pool.cpus, "GPU": pool.gpus}


def _sum(pools: Mapping[str, Pool]) -> str:
    each = ", ".join(
        f"{name}: {pool.actors} × ({pool.cpus:g} CPUs, {pool.gpus:g} GPUs)" for name, pool in pools.items()
    )
    cpus = sum(pool.actors * pool.cpus for pool in pools.values())
    gpus = sum(pool.actors * pool.gpus for pool in pools.values())
    return f"{cpus:g} CPUs and {gpus:g} GPUs ({each})"


def _start(pool: Pool, text: str) -> Handle:
    options = ray.remote(PhaseActor).options(num_cpus=pool.cpus, num_gpus=pool.gpus, max_restarts=-1)
    return cast("Handle", options.remote(text))


async def _remote(call: Callable[[], Awaitable[T]]) -> T:
    """Awaits a Ray call; makes it again while its actor is being restarted, and unwraps what the phase raised."""
    for attempt in range(RESTART_ATTEMPTS):
        try:
            return await call()
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError as error:
            if attempt == RESTART_ATTEMPTS - 1:
                raise Unavailable(f"a phase actor keeps dying: {error}") from error
            await asyncio.sleep(min(1.0, 0.1 * 2**attempt))
    raise AssertionError("the loop above returns or raises")

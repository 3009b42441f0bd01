"""Where each phase of a session runs: in the host, or in a pool of phase actors.

Knows Ray and time-outs; knows nothing of what a phase does. Invariant: a replica that is behind is restored
from the log, then the same call is made again, so a restarted phase actor is only slower, never wrong."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Concatenate, ParamSpec, TypeVar, cast

import ray

from loops.context import Context
from loops.errors import Behind, Diverged, EnvironmentFailed, ToolFailed
from loops.gateway import EpochOf, Gateway
from loops.history import divergence, episode, recent, transitions
from loops.ports import PhaseMethod, Step
from loops.spaces import Spaces
from runtime.compose import Heard, compose
from runtime.errors import Unavailable
from runtime.hosting.executors import this_process
from runtime.hosting.lanes import Lane, within
from runtime.hosting.orders import Surroundings
from runtime.hosting.pools import BESIDE, ActorAway, Handle, check_room, remote, remote_once, start, total
from runtime.scenario import HOST, Phase, Pool, Scenario
from telemetry.errors import LogError
from telemetry.events import execute
from telemetry.events.values import EffectClass, ModelId
from telemetry.log import EventLog

P = ParamSpec("P")
T = TypeVar("T")
PhaseT = TypeVar("PhaseT")


ONCE = ("call", "settle")
"""Methods that a phase actor must not be given again when it died: only the class of the call can say."""
ANSWER_TIMEOUT_S = 60.0
"""How long a phase actor may take to say what is under way in it: what is before that in its lane takes less."""
PAGE = 512
"""Transitions sent to a replica at a time."""
POOL_TIMEOUT_S = 120.0
"""How long a pool waits for resources that others hold now."""
RESTORE_TIMEOUT_S = 600.0
"""How long a replica may take to come up from the log: an episode of 26 million frames at 23 µs each."""


class Placement:
    """The phases of one scenario in one host, and the pools that the scenario asks for."""

    def __init__(
        self,
        scenario: Scenario,
        text: str,
        log: EventLog,
        threads: ThreadPoolExecutor,
        *,
        surroundings: Surroundings | None = None,
        heard: Heard = lambda _stream, _text: None,
        gateway: Gateway | None = None,
    ) -> None:
        self.scenario = scenario
        self._surroundings = surroundings or Surroundings()
        self._named: ModelId | None = None
        self._gateway = gateway or gateway_of(log)
        self.local = compose(
            scenario,
            defaults=self._surroundings.models,
            folder=self._surroundings.folder,
            heard=heard,
            gateway=self._gateway,
            read=self._surroundings.reader(scenario),
        )
        self._log = log
        self._threads = threads
        self._text = text
        self._pools: Mapping[str, list[Lane]] = {}
        self._wanted: Mapping[str, Pool] = {}
        self._growth_patience_s = 0.0

    async def start_pools(self, *, growth_patience_s: float) -> None:
        """Starts the phase actors that the scenario places phases in, and returns when each answers.

        Raises `Unavailable` at once when the cluster does not have what they ask for, unless there is patience
        for it to grow; and after POOL_TIMEOUT_S when others have taken it."""
        wanted = {name: pool for name, pool in self.scenario.pools.items() if name in self.scenario.placement.values()}
        if not wanted:
            return
        if not growth_patience_s:
            try:
                await asyncio.to_thread(check_room, wanted)
            except Unavailable as error:
                raise Unavailable(f"{error}. Nothing was written") from error
        limit_s = max(POOL_TIMEOUT_S, growth_patience_s)
        host = ray.get_runtime_context().current_actor
        pools = {
            name: [start(pool, self._text, self._surroundings, host=host) for _ in range(pool.actors)]
            for name, pool in wanted.items()
        }
        actors = [actor for pool in pools.values() for actor in pool]
        try:
            async with asyncio.timeout(limit_s):
                names = dict(zip(actors, await asyncio.gather(*(remote(a.ping.remote) for a in actors)), strict=True))
        except (TimeoutError, Unavailable) as error:
            for actor in actors:
                ray.kill(actor)
            raise Unavailable(
                f"the pools ask for {total(wanted)}; they did not start within {limit_s:g} s, others may hold it or a "
                f"phase actor cannot live: {error}. Nothing was written"
            ) from error
        self._wanted, self._growth_patience_s = wanted, growth_patience_s
        self._pools = {name: [Lane(actor, names[actor]) for actor in pool] for name, pool in pools.items()}

    def named(self) -> ModelId | None:
        """The trained model that the scenario names, the same to every session that begins here; None where it names
        none. Blocks while it is read; raises what that raises."""
        which = self.scenario.world_model.model
        if which is not None and self._named is None:
            self._named = self.local.models.load(which).model_id
        return self._named

    def executor(self, stream: str) -> str:
        """Who attempts the session's moves and calls now."""
        lane = self._lane("execute", stream)
        return self._gateway.executor if lane is None else lane.process

    async def under_way(self, stream: str, sent: execute.Dispatched) -> bool:
        """Whether that attempt may be under way still, as far as its executor tells: only those here are asked."""
        if sent.executor != self.executor(stream):
            return True
        lane = self._lane("execute", stream)
        if lane is None:
            return self._gateway.under_way(sent.effect)
        try:
            return bool(await lane.ask("under_way", sent.effect, what="execute", limit_s=ANSWER_TIMEOUT_S))
        except EnvironmentFailed:
            return True  # it was restarted, so it will soon be known dead

    async def run(
        self,
        method: Callable[Concatenate[PhaseT, Context, P], T],
        context: Context,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Calls `method` of its phase where that is placed. Raises `EnvironmentFailed` (timeout) when it hangs."""
        phase, name = _named(method)
        lane = self._lane(phase, context.stream)
        if lane is None and self._answers_at_once(phase, name, context.stream):
            try:
                return cast(T, getattr(getattr(self.local, phase), name)(context, *args))
            except Behind as behind:
                await self._restore_in_time(None, behind, context)
        answer = await self._ready(lane, context, lambda: self._call(lane, phase, name, context, *args))
        return cast(T, answer)

    def _answers_at_once(self, phase: Phase, name: str, stream: str) -> bool:
        """Whether the method is a plain call in this process that needs neither a thread nor a time-out."""
        if phase == "execute":
            return not self.local.conversation and self.local.worlds.instant(stream)
        return name != "answer"

    async def steps(self, now: Callable[[], Context], methods: Sequence[PhaseMethod]) -> AsyncIterator[Step]:
        """As `PhaseRunner.steps`."""
        stream = now().stream
        for lane, neighbours in itertools.groupby(methods, key=lambda method: self._lane(_named(method)[0], stream)):
            if lane is None:
                for method in neighbours:
                    began = time.perf_counter_ns()
                    events = await self.run(method, now())
                    yield Step(events, time.perf_counter_ns() - began)
            else:
                for step in await self._remote_steps(lane, now(), [_named(method) for method in neighbours]):
                    yield step

    async def _remote_steps(self, lane: Lane, context: Context, named: list[tuple[Phase, str]]) -> list[Step]:
        limit_s = sum(self.scenario.timeouts.of(phase) for phase, _ in named)
        phases = ", ".join(dict.fromkeys(phase for phase, _ in named))

        async def call() -> list[Step]:
            steps: list[Step] = await lane.ask("steps", named, context, what=phases, limit_s=limit_s)
            return steps

        return await self._ready(lane, context, call)

    async def _ready(self, lane: Lane | None, context: Context, call: Callable[[], Awaitable[T]]) -> T:
        """The answer to `call`, made again once its replica is restored when that was behind. Raises `Unavailable` when
        the cluster has no room any more for the actor that is to answer, and does not grow it in time."""
        patient_until = time.monotonic() + self._growth_patience_s
        restored = 0
        while restored < 3:
            try:
                return await call()
            except Behind as behind:
                await self._restore_in_time(lane, behind, context)
                restored += 1
            except ActorAway as error:
                lost = await asyncio.to_thread(self._lost_room)
                if lost is None:
                    raise
                if time.monotonic() > patient_until:
                    raise lost from error
        raise Unavailable(f"{context.stream}: a replica stays behind after it was restored three times")

    def _lost_room(self) -> Unavailable | None:
        """What the pools lack since a node was lost; None while there is room for them."""
        try:
            check_room(self._wanted)
        except Unavailable as error:
            return Unavailable(f"a node of the cluster was lost: {error}")
        return None

    async def _call(self, lane: Lane | None, phase: Phase, name: str, context: Context, *args: object) -> object:
        answers = name == "answer"
        limit_s = self.scenario.reasoner.language.limit_s if answers else self.scenario.timeouts.of(phase)
        if lane is None:
            bound = getattr(getattr(self.local, phase), name)
            if self._answers_at_once(phase, name, context.stream):
                return bound(context, *args)
            call = asyncio.get_running_loop().run_in_executor(self._threads, bound, context, *args)
            return await within(limit_s, phase, None, call)
        actor = lane.actor
        beside = actor.run.options(concurrency_group=BESIDE)
        if name in ONCE:
            lane.process = await remote(actor.ping.remote)  # it may be coming back from its last death
            once = partial(remote_once, lambda: beside.remote(phase, name, context, *args))
            return await lane.direct(once, what=phase, limit_s=limit_s)
        if answers:
            again = partial(remote, lambda: beside.remote(phase, name, context, *args))
            return await lane.direct(again, what=phase, limit_s=limit_s)
        try:
            return await lane.ask("run", phase, name, context, *args, what=phase, limit_s=limit_s)
        except ToolFailed as stopped:
            if stopped.kind == "fenced":
                lane.process = await remote(actor.ping.remote)  # it may have been started anew
            raise

    async def _restore_in_time(self, lane: Lane | None, behind: Behind, context: Context) -> None:
        try:
            async with asyncio.timeout(RESTORE_TIMEOUT_S):
                await self._restore(None if lane is None else lane.actor, behind, context)
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
                    await remote(lambda: actor.restore_world.remote(context, shown, taken))
            except Diverged as error:
                size = await asyncio.to_thread(divergence, self._log, context.stream, error)
                raise Diverged(f"{error}. {size}", error.recorded, error.shown) from None
            return
        if behind.replica == "belief":
            count = self.local.models.history(context) - 1
            latest = await asyncio.to_thread(recent, self._log, context.stream, count=count)
            if actor is None:
                self.local.models.recall(context, latest)
            else:
                await remote(lambda: actor.recall_belief.remote(context, latest))
            return
        past = transitions(self._log, context.stream)
        for begin in itertools.chain((True,), itertools.repeat(False)):
            page = await asyncio.to_thread(lambda: list(itertools.islice(past, PAGE)))
            if not page and not begin:
                return
            if actor is None:
                self.local.models.restore(context, page, begin=begin)
            else:
                await remote(partial(actor.restore_model.remote, context, page, begin=begin))

    def _lane(self, phase: Phase, stream: str) -> Lane | None:
        pool = self.scenario.placement.get(phase, HOST)
        if pool == HOST:
            return None
        lanes = self._pools[pool]
        return lanes[int.from_bytes(stream.encode()[-8:], "big") % len(lanes)]

    async def describe(self, stream: str, person: str | None = None) -> tuple[Spaces, EffectClass]:
        """The spaces of the session's environment and the class of its effects."""
        lane, limit_s = self._lane("execute", stream), self.scenario.timeouts.execute_s
        if lane is not None:
            answer = await lane.ask("describe", stream, person, what="making the environment", limit_s=limit_s)
            return cast("tuple[Spaces, EffectClass]", answer)
        described = asyncio.get_running_loop().run_in_executor(self._threads, self.local.describe, stream, person)
        try:
            return await asyncio.wait_for(described, limit_s)
        except TimeoutError as error:
            raise EnvironmentFailed(f"the environment was not made within {limit_s:g} s", "timeout") from error

    def forget(self, stream: str) -> None:
        """Frees what is kept for a session, here and in the pools."""
        self.local.forget(stream)
        for lane in {self._lane(phase, stream) for phase in self.scenario.placement}:
            if lane is not None:
                lane.tell("forget", stream, limit_s=RESTORE_TIMEOUT_S)


def gateway_of(log: EventLog) -> Gateway:
    """The way out of this process for effects of sessions on `log`."""
    return Gateway(this_process(), epoch_of=epoch_in(log))


def epoch_in(log: EventLog) -> EpochOf:
    def epoch_of(stream: str) -> int:
        try:
            head = log.head(stream)
        except LogError as error:
            raise ToolFailed(f"whose session it is now cannot be read: {error} Nothing was sent", "fenced") from error
        return 0 if head is None else head.epoch

    return epoch_of


@cache
def _named(method: Callable[..., object]) -> tuple[Phase, str]:
    """The phase and the name of a phase class's method: the five classes carry the phases' names."""
    owner, _, name = method.__qualname__.partition(".")
    return cast(Phase, owner.lower()), name

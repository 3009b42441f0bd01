"""Pools of phase actors: what they run, what they ask of the cluster, and calls that outlive a restart.

Knows Ray; knows nothing of sessions beyond the stream a call is for."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import ray
from ray.exceptions import PendingCallsLimitExceeded, RayActorError, RayError, RayTaskError

from loops.context import Context
from loops.errors import ToolFailed
from loops.gateway import Gateway
from loops.ports import Step
from loops.spaces import Spaces
from runtime.compose import Phases, compose
from runtime.errors import Backpressure, Unavailable
from runtime.hosting.executors import this_process
from runtime.hosting.orders import Surroundings
from runtime.scenario import Phase, Pool, parse_scenario
from telemetry.events.values import Digest, EffectClass

T = TypeVar("T")

Handle: TypeAlias = Any
"""A Ray actor handle. Ray's own type says that methods which are not decorated for it never return."""

ROUNDING = 1e-6
"""Ray counts resources in ten-thousandths; sums of floats are off by less."""
BESIDE = "beside"
"""The group of calls that run at once in a phase actor, each in a thread; everything else in it happens one by one."""
CHECK_TIMEOUT_S = 10.0
"""How long the host may take to say whose session it is; it reads its log for that."""
RESTART_TIMEOUT_S = 60.0
"""How long a phase actor may be away, or die of every call, before its sessions rest at their last commit. A process of
ours starts within two seconds on an idle machine, and within twenty on one that has ten times as much to do."""


DIRECT_CALLS = 64
"""Calls of one host under way at once at one phase actor, beside its lane; further ones wait in the host."""
MAX_PENDING_CALLS = 2 * DIRECT_CALLS
"""Of one host at one phase actor, whatever they are: Ray refuses more."""

PROPOSE: tuple[Phase, str] = ("reason", "propose")

Answers: TypeAlias = list[tuple[object, Exception | None]]
"""An answer or an error for each ask."""


class ActorAway(Unavailable):
    """A phase actor died and did not come back in time."""


class PhaseActor:
    """A Ray actor that hosts the phases of one scenario for the sessions routed to it."""

    def __init__(self, scenario_text: str, surroundings: Surroundings, host: Handle) -> None:
        surroundings.enter()
        scenario = parse_scenario(scenario_text, source="scenario").scenario
        self._gateway = Gateway(this_process(), epoch_of=lambda stream: _epoch_at(host, stream))
        self._phases: Phases = compose(
            scenario,
            defaults=surroundings.models,
            folder=surroundings.folder,
            gateway=self._gateway,
            read=surroundings.reader(scenario),
        )

    def ping(self) -> str:
        """The name of this process, once the actor has its resources and its phases are made."""
        return self._gateway.executor

    def under_way(self, effect: Digest) -> bool:
        """Whether an attempt of the effect is under way in this process."""
        return self._gateway.under_way(effect)

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

    def together(self, asks: Sequence[tuple[str, tuple[object, ...]]], budget_s: float) -> Answers:
        """What these methods of this actor answer or raise, each for itself, one after the other; as many as are done
        once the budget is spent, and at least one."""
        proposed = _proposed_in(asks)
        if len(proposed) > 1:
            self._phases.reason.ahead(proposed)
        began = time.perf_counter()
        answers: Answers = []
        for method, arguments in asks:
            try:
                answers.append((getattr(self, method)(*arguments), None))
            except Exception as error:  # noqa: BLE001  it belongs to one of many callers, and is raised there
                answers.append((None, _portable(error)))
            if time.perf_counter() - began > budget_s:
                break
        return answers

    def restore_model(self, context: Context, page: list[Any], *, begin: bool) -> None:
        self._phases.models.restore(context, page, begin=begin)

    def recall_belief(self, context: Context, past: list[Any]) -> None:
        self._phases.models.recall(context, past)

    def restore_world(self, context: Context, shown: str, taken: list[Any]) -> None:
        self._phases.worlds.restore(context, shown, taken)

    def describe(self, stream: str, person: str | None) -> tuple[Spaces, EffectClass]:
        return self._phases.describe(stream, person)

    def forget(self, stream: str) -> None:
        self._phases.forget(stream)


def _proposed_in(asks: Sequence[tuple[str, tuple[object, ...]]]) -> list[Context]:
    """The contexts in which these asks have their sessions' next actions proposed."""
    contexts: list[Context] = []
    for method, arguments in asks:
        match method, arguments:
            case "steps", (list(named), Context() as context) if PROPOSE in named:
                contexts.append(context)
            case "run", (phase, name, Context() as context, *_) if (phase, name) == PROPOSE:
                contexts.append(context)
    return contexts


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
                f"the pools ask for {total(pools)} beside the host's {mine:g} {kind}s; this cluster has {there:g} "
                f"{kind}s, {largest:g} on one node. Ask for less in [pools] (cpus, gpus, actors), "
                "or set growth_patience_s on a cluster that grows"
            )


def _asked(pool: Pool) -> dict[str, float]:
    """What one actor of the pool asks for."""
    return {"CPU": pool.cpus, "GPU": pool.gpus}


def total(pools: Mapping[str, Pool]) -> str:
    each = ", ".join(
        f"{name}: {pool.actors} × ({pool.cpus:g} CPUs, {pool.gpus:g} GPUs)" for name, pool in pools.items()
    )
    cpus = sum(pool.actors * pool.cpus for pool in pools.values())
    gpus = sum(pool.actors * pool.gpus for pool in pools.values())
    return f"{cpus:g} CPUs and {gpus:g} GPUs ({each})"


def start(pool: Pool, text: str, surroundings: Surroundings, *, host: Handle) -> Handle:
    """A phase actor that asks `host` whose sessions are whose."""
    kind = ray.remote(concurrency_groups={BESIDE: DIRECT_CALLS})(PhaseActor)  # type: ignore[call-overload]  # Ray's
    options = kind.options(num_cpus=pool.cpus, num_gpus=pool.gpus, max_restarts=-1, max_pending_calls=MAX_PENDING_CALLS)
    return cast("Handle", options.remote(text, surroundings, host))


def _epoch_at(host: Handle, stream: str) -> int:
    """The stream's epoch, from the host that placed the actor: it reads it on the log. So an actor needs no way to the
    log, and one whose host is gone sends nothing more. Raises `ToolFailed` (fenced)."""
    try:
        epoch: int = ray.get(host.epoch.remote(stream), timeout=CHECK_TIMEOUT_S)
    except RayError as error:
        why = f"the host that placed it does not say whose session it is now ({type(error).__name__})"
        raise ToolFailed(f"{why}; nothing was sent", "fenced") from error
    return epoch


def _portable(error: Exception) -> Exception:
    """The error, or its words where it cannot cross between processes."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    except Exception:  # noqa: BLE001  whatever its classes raise
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


async def remote_once(call: Callable[[], Awaitable[T]]) -> T:
    """Awaits a Ray call that must not be made again. Raises `ToolFailed` (lost) when its actor died meanwhile."""
    try:
        return await call()
    except PendingCallsLimitExceeded as error:
        raise Backpressure(f"a phase actor has {MAX_PENDING_CALLS} calls waiting; this one was not made") from error
    except RayTaskError as error:
        raise error.cause from None
    except RayActorError as error:
        raise ToolFailed(f"the phase actor that made the call died: {error}", "lost") from error


async def remote(call: Callable[[], Awaitable[T]]) -> T:
    """Awaits a Ray call; makes it again while its actor is being restarted, and unwraps what the phase raised. Raises
    `ActorAway`, and `Backpressure`."""
    away_since = None
    pause_s = 0.1
    while True:
        try:
            return await call()
        except PendingCallsLimitExceeded as error:
            raise Backpressure(f"a phase actor has {MAX_PENDING_CALLS} calls waiting; this one was not made") from error
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError as error:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > RESTART_TIMEOUT_S:
                raise ActorAway(f"a phase actor keeps dying, or does not come back: {error}") from error
            await asyncio.sleep(pause_s)
            pause_s = min(1.0, 2 * pause_s)

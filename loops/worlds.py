"""The environments of the sessions that one process serves, each rebuilt from the log when it is not there.

Knows episodes and steps; refuses to act from any other moment than the session's (`Behind`).
Invariant: an environment that answers has been through exactly the actions of the session's episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from loops.context import Context
from loops.errors import Behind, Diverged, EnvironmentFailed
from loops.percept import Percept
from loops.ports import Environment
from loops.randomness import derive
from loops.spaces import Spaces
from telemetry.events.values import Action, Digest, EffectClass
from telemetry.otel.context import under_cycle


@dataclass(frozen=True, slots=True)
class Taken:
    """One recorded action of an episode and the digest of what followed it."""

    action: Action
    observed: Digest


@dataclass(slots=True)
class _World:
    environment: Environment
    episode: int = -1
    step: int = 0
    percept: Percept | None = None
    action: Action | None = None


class Worlds:
    def __init__(self, make: Callable[[], Environment]) -> None:
        self._make = make
        self._worlds: dict[str, _World] = {}

    def describe(self, stream: str) -> tuple[Spaces, EffectClass]:
        """What the session's environment shows and accepts, and the class of its effects."""
        environment = self._world(stream).environment
        return environment.spaces, environment.effect_class

    def perceive(self, context: Context) -> Percept:
        """Resets where an episode begins; else shows what the last action led to."""
        world, state = self._world(context.stream), context.state
        if state.stage == "fresh":
            percept = world.environment.reset(seed=derive(state.seed, "episode", state.episode))
            world.episode, world.step, world.percept, world.action = state.episode, 0, percept, None
            return percept
        if world.percept is None or (world.episode, world.step) != (state.episode, state.step):
            raise Behind("environment", context.stream)
        return world.percept

    def act(self, context: Context, action: Action) -> Percept:
        """Takes `action` at the session's step. The same call again answers the same, without acting twice."""
        world, state = self._world(context.stream), context.state
        if world.percept is not None and world.episode == state.episode:
            if world.step == state.step + 1 and world.action == action:
                return world.percept
            if world.step == state.step:
                percept = world.environment.act(action)
                world.step, world.percept, world.action = world.step + 1, percept, action
                return percept
        raise Behind("environment", context.stream)

    def restore(self, context: Context, shown: Digest, taken: Iterable[Taken]) -> None:
        """Re-steps the current episode. Raises `Diverged` when the simulator answers other than the log says,
        `EnvironmentFailed` (lost) for a world whose effects must not be repeated."""
        world, state = self._world(context.stream), context.state
        if world.environment.effect_class != "replayable":
            raise EnvironmentFailed(
                f"the world of {context.stream} was lost with its process, and its {world.environment.effect_class} "
                "effects must not be repeated to rebuild it; the log is intact",
                "lost",
            )
        step, action = 0, None
        with under_cycle(context.stream, cycle=state.cycle):  # not under the effects, which happened once
            percept = world.environment.reset(seed=derive(state.seed, "episode", state.episode))
            _compare(context, step, shown, percept)
            for step, past in enumerate(taken, start=1):
                percept, action = world.environment.act(past.action), past.action
                _compare(context, step, past.observed, percept)
        world.episode, world.step, world.percept, world.action = state.episode, step, percept, action

    def instant(self, stream: str) -> bool:
        """Whether the session's world may be called without a thread."""
        return self._world(stream).environment.instant

    def close(self, stream: str) -> None:
        world = self._worlds.pop(stream, None)
        if world is not None:
            world.environment.close()

    def _world(self, stream: str) -> _World:
        if stream not in self._worlds:
            with under_cycle(stream, cycle=0):
                self._worlds[stream] = _World(self._make())
        return self._worlds[stream]


def _compare(context: Context, step: int, recorded: Digest, percept: Percept) -> None:
    if percept.digest != recorded:
        raise Diverged(
            f"rebuilding episode {context.state.episode} of {context.stream}: after {step} actions the simulator shows "
            f"{percept.digest[:12]}…, the log says {recorded[:12]}…. The log is intact. The versions pinned in the "
            "session's first event and those installed here may differ; see: aether doctor",
            recorded,
            percept,
        )

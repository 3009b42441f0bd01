"""Between a training's first worker and its driver: how far it is, what it saw, and whether to stop.

Knows an actor and its handle; knows no training. Invariant: a step never waits for the driver, and no look is lost."""

from __future__ import annotations

import time
from typing import Final, Protocol, cast

import ray
from ray.actor import ActorHandle

from loops.training.course import Look

PULSE_S: Final = 0.2
"""How often driver and first worker hear of each other."""


def open_desk() -> Handle:
    """A desk on this node, which takes no processor."""
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    return cast("Handle", ray.remote(Desk).options(num_cpus=0, label_selector=here).remote())


def close_desk(desk: Handle) -> None:
    ray.kill(cast("ActorHandle[Desk]", desk))


class Desk:
    """Between the first worker and the driver: what is new, and whether to stop."""

    def __init__(self) -> None:
        self._step = 0
        self._looks: list[Look] = []
        self._stop = False
        self._begun: list[tuple[int, float]] = []

    def begin(self, step: int) -> None:
        """The first worker has all that it needs, and takes its first step."""
        self._begun.append((step, time.time()))

    def tell(self, step: int, looks: list[Look]) -> bool:
        """What the first worker did meanwhile; whether it is to stop."""
        self._step = step
        self._looks += looks
        return self._stop

    def news(self, *, stop: bool) -> tuple[int, list[Look]]:
        """The last step, and the looks that were not asked for before."""
        self._stop |= stop
        looks, self._looks = self._looks, []
        return self._step, looks

    def begun(self) -> list[tuple[int, float]]:
        return self._begun


class Handle(Protocol):
    begin: _Remote
    tell: _Remote
    news: _Remote
    begun: _Remote


class _Remote(Protocol):
    def remote(self, *args: object, **kwargs: object) -> ray.ObjectRef: ...  # type: ignore[type-arg]


class Line:
    """The first worker's line to the desk: waits for an answer only where what was said must not be lost."""

    def __init__(self, desk: Handle) -> None:
        self._desk = desk
        self._looks: list[Look] = []
        self._answer = desk.tell.remote(0, [])
        self._stop = bool(ray.get(self._answer))
        self._asked = time.monotonic()

    def begin(self, step: int) -> None:
        ray.get(self._desk.begin.remote(step))

    def look(self, look: Look) -> None:
        self._looks.append(look)

    def stop(self, step: int) -> bool:
        """Whether to stop; says how far it is, some times a second."""
        if time.monotonic() - self._asked >= PULSE_S:
            self.flush(step)
        return self._stop

    def flush(self, step: int) -> None:
        self._stop |= bool(ray.get(self._answer))
        looks, self._looks = self._looks, []
        self._answer, self._asked = self._desk.tell.remote(step, looks), time.monotonic()

    def settle(self, step: int) -> None:
        """Returns when everything is said: a state that is kept next takes no look with it that nobody heard of."""
        self.flush(step)
        ray.get(self._answer)

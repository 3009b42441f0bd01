"""Random actions of a space, as proposals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from loops.ports import MAX_OPTIONS
from loops.spaces import BoxActions, MoveSpace
from telemetry.events import reason
from telemetry.events.values import Action, Array, Move, digest_of


def draw(space: MoveSpace, rng: np.random.Generator, count: int) -> list[Action]:
    """`count` actions: uniform in a box; of a discrete space distinct ones, so at most as many as it has."""
    if isinstance(space, BoxActions):
        low, high = space.low.numpy(), space.high.numpy()
        drawn = rng.uniform(low, high, size=(count, *low.shape)).astype(low.dtype)
        return [Move(to=Array.of(values)) for values in drawn]
    order = rng.permutation(space.n)[:count]
    return [Move(to=int(index) + space.first) for index in order]


def proposals(actions: Iterable[Action], why: str, scores: Sequence[float] | None = None) -> list[reason.Proposed]:
    """The first MAX_OPTIONS distinct actions, numbered in order."""
    made: list[reason.Proposed] = []
    known: set[str] = set()
    for index, action in enumerate(actions):
        arguments = digest_of(action)
        if arguments in known or len(made) == MAX_OPTIONS:
            continue
        known.add(arguments)
        score = None if scores is None else scores[index]
        made.append(reason.Proposed(proposal=len(made), action=action, arguments=arguments, score=score, why=why))
    return made

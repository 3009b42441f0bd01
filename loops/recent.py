"""The latest observations of a session's episode with what was done between them: what a belief rests on.

Knows one episode; refuses to begin in the middle of one. Invariant: rows follow one another step by step, and the last
of them is what is observed now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loops.context import Context
from loops.scene import Transition
from loops.spaces import Spaces, Vector, flatten

# K = observations, at most the model's history; D = width of one; A = width of controls


@dataclass(frozen=True, slots=True)
class Recent:
    episode: int
    step: int
    """Of the last row."""
    seen_KD: Vector
    done_KA: Vector
    """What was done after each; zeros after the last."""

    @classmethod
    def of(cls, spaces: Spaces, transitions: Sequence[Transition], *, history: int) -> Recent:
        """Of transitions of one episode that follow one another, at least one."""
        after = transitions[-1].after
        observed = [*(each.before for each in transitions), after]
        seen_KD = np.stack([flatten(spaces, each.observations, each.goal) for each in observed])
        done = [spaces.action.vector(each.action) for each in transitions]
        done_KA = np.stack([*done, np.zeros(spaces.action.width)])
        return cls(after.episode, after.step, seen_KD[-history:], done_KA[-history:])

    @classmethod
    def follow(cls, before: Recent | None, context: Context, *, history: int) -> Recent | None:
        """What is recent at this moment of the session, from what was before; None where that is too long ago."""
        spaces, observed, transition = context.spaces, context.scene.observed, context.scene.transition
        assert observed is not None, "a model is asked after sense"
        if before is not None and (before.episode, before.step) == (observed.episode, observed.step):
            return before
        if observed.step == 0 or history == 1:
            now_1D = flatten(spaces, observed.observations, observed.goal)[np.newaxis]
            return cls(observed.episode, observed.step, now_1D, np.zeros((1, spaces.action.width)))
        if transition is None:
            return None
        last = cls.of(spaces, (transition,), history=history)
        if observed.step == 1 or history == 2:
            return last
        if before is None or (before.episode, before.step) != (observed.episode, observed.step - 1):
            return None
        seen_KD = np.concatenate([before.seen_KD[:-1], last.seen_KD])
        done_KA = np.concatenate([before.done_KA[:-1], last.done_KA])
        return cls(observed.episode, observed.step, seen_KD[-history:], done_KA[-history:])

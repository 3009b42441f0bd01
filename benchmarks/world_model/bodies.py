"""Many episodes side by side: what each body has seen and done, and one step of all that are still on their way.

Knows environments; knows no model and no planner. Invariant: a body that is done is asked for nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from loops.environments import EnvironmentSettings, make_environment
from loops.percept import Percept
from loops.spaces import Spaces, flatten
from world_model.experience import Experience, of_episodes
from world_model.layout import Layout

# B = bodies on their way, D = width of what is seen, A = of controls, G = of the goal, T = decisions so far

Numbers = NDArray[np.float32]


class Lived(NamedTuple):
    """One episode as it went."""

    seen_TD: Numbers
    done_TA: Numbers
    """What was done after each but the last, so one row shorter."""
    desired_G: NDArray[np.float64]
    success: bool


class Bodies:
    """One environment a body. `act` steps those in `active`, in that order."""

    def __init__(self, settings: EnvironmentSettings, count: int, *, past_success: bool = False) -> None:
        """`past_success`: a body goes on where the goal was reached."""
        self._past_success = past_success
        self._environments = [make_environment(settings) for _ in range(count)]
        self.spaces: Spaces = self._environments[0].spaces
        self._seen: list[list[Numbers]] = []
        self._done: list[list[Numbers]] = []
        self._desired: list[NDArray[np.float64]] = []
        self._success: list[bool] = []
        self.active: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for environment in self._environments:
            environment.close()

    def reset(self, seeds: Sequence[int]) -> None:
        """Begins an episode of each body, one seed a body."""
        percepts = [body.reset(seed=seed) for body, seed in zip(self._environments, seeds, strict=True)]
        self._seen = [[self._flat(percept)] for percept in percepts]
        self._done = [[] for _ in percepts]
        self._desired = [_desired(percept) for percept in percepts]
        self._success = [bool(percept.success) for percept in percepts]
        self.active = [body for body, there in enumerate(self._success) if self._past_success or not there]

    def history(self, body: int, length: int) -> tuple[Numbers, Numbers]:
        """The last `length` observations, fewer in a younger episode, and what was done after each but the last, which
        has zeros."""
        seen = self._seen[body][-length:]
        done = self._done[body][len(self._done[body]) - len(seen) + 1 :]
        return np.stack(seen), np.stack([*done, np.zeros(self.spaces.moves.width, dtype=np.float32)])

    def desired(self, body: int) -> NDArray[np.float64]:
        return self._desired[body]

    def act(self, controls_BA: Numbers) -> None:
        """One decision of each active body; those that succeed or end leave `active`."""
        still: list[int] = []
        for body, control_A in zip(self.active, controls_BA, strict=True):
            percept = self._environments[body].act(self.spaces.moves.move(control_A))
            self._done[body].append(np.asarray(control_A, dtype=np.float32))
            self._seen[body].append(self._flat(percept))
            self._success[body] = self._success[body] or bool(percept.success)
            arrived = self._success[body] and not self._past_success
            if not arrived and not percept.ends_episode:
                still.append(body)
        self.active = still

    def lived(self) -> list[Lived]:
        """Every body's episode, also of those that are still on their way."""
        width = self.spaces.moves.width
        return [
            Lived(np.stack(seen), np.array(done, dtype=np.float32).reshape(-1, width), desired, success)
            for seen, done, desired, success in zip(self._seen, self._done, self._desired, self._success, strict=True)
        ]

    def _flat(self, percept: Percept) -> Numbers:
        return flatten(self.spaces, percept.observations, percept.goal).astype(np.float32)


def experience_of(layout: Layout, lived: Sequence[Lived], *, piece: int | None = None) -> Experience:
    """Episodes as experience that came from no log, each its own session; cut into sessions of `piece` decisions where
    that is given, so that there are several to hold out and to bootstrap."""
    whole = of_episodes(layout, [(one.seen_TD, one.done_TA, np.zeros(len(one.done_TA))) for one in lived])
    if piece is None:
        return whole
    parts = [np.arange(len(one.seen_TD)) // piece for one in lived]
    firsts = np.cumsum([0, *(int(part_T[-1]) + 1 for part_T in parts)])[:-1]
    session_N = np.concatenate([first + part_T for first, part_T in zip(firsts, parts, strict=True)])
    return replace(whole, episode_N=session_N, session_N=session_N)


def _desired(percept: Percept) -> NDArray[np.float64]:
    return np.zeros(0) if percept.goal is None else percept.goal.desired.numpy().astype(np.float64).ravel()

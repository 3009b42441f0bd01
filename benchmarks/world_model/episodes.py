"""Episodes of one planner, as many side by side as there are reset seeds.

Knows how a decision is made; knows no figure. Invariant: held-out reset seeds lie above every seed that a session draws
(`loops.randomness.derive` stays below 2³¹), so none was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.world_model.bodies import Bodies, Lived, Numbers
from loops.environments import EnvironmentSettings
from loops.layouts import layout_of
from loops.randomness import derive
from world_model.plan.cost import Cost
from world_model.plan.forward import Forward
from world_model.plan.planner import plan
from world_model.plan.settings import PlanSettings

BEYOND_SESSIONS = 2**31


class Foresight(Forward, Protocol):
    """A model and what it believes of an episode so far."""

    @property
    def history(self) -> int:
        """Observations that a belief rests on."""
        ...

    def believe(self, seen_KD: NDArray[np.float32], done_KA: NDArray[np.float32]) -> NDArray[np.float32]: ...


class Will(NamedTuple):
    """What is wanted and how it is planned for."""

    cost: Callable[[NDArray[np.float64]], Cost]
    """Of a desired goal."""
    settings: PlanSettings
    seed: int = 0


def held_out_seeds(count: int, *, seed: int, use: str) -> list[int]:
    """Reset seeds that no session draws; another `use` gives others."""
    return [BEYOND_SESSIONS + derive(seed, "held-out", use, pair) for pair in range(count)]


def planned(world: EnvironmentSettings, seeds: Sequence[int], foresight: Foresight, will: Will) -> list[Lived]:
    """One episode a reset seed, its planner's noise drawn from that seed."""
    with Bodies(world, len(seeds)) as bodies:
        bodies.reset(seeds)
        costs = [will.cost(bodies.desired(body)) for body in range(len(seeds))]
        noise = [np.random.default_rng((will.seed, seed)) for seed in seeds]
        while bodies.active:
            bodies.act(_decide(bodies, foresight, costs, noise, will.settings))
        return bodies.lived()


def _decide(
    bodies: Bodies,
    foresight: Foresight,
    costs: Sequence[Cost],
    noise: Sequence[np.random.Generator],
    settings: PlanSettings,
) -> Numbers:
    layout = layout_of(bodies.spaces)
    assert layout is not None, "a maze shows numbers"
    beliefs = [foresight.believe(*bodies.history(body, foresight.history)) for body in bodies.active]
    plans = plan(
        foresight,
        torch.from_numpy(np.stack(beliefs)),
        [costs[body] for body in bodies.active],
        layout.controls,
        [noise[body] for body in bodies.active],
        settings,
    )
    return np.stack([one.options[0].control_A for one in plans])


def at_random(world: EnvironmentSettings, seeds: Sequence[int], *, hold: int) -> list[Lived]:
    """The law of the `explore` reasoner: uniform controls, each kept for 1 … 2·hold − 1 decisions."""
    with Bodies(world, len(seeds)) as bodies:
        bodies.reset(seeds)
        layout = layout_of(bodies.spaces)
        assert layout is not None, "a maze shows numbers"
        drawn = [np.random.default_rng((1, seed)) for seed in seeds]
        low_A, high_A = np.array(layout.controls.low), np.array(layout.controls.high)
        kept_BA = np.zeros((len(seeds), layout.controls.width), dtype=np.float32)
        left_B = np.zeros(len(seeds), dtype=np.int64)
        while bodies.active:
            for body in bodies.active:
                if left_B[body] == 0:
                    kept_BA[body] = drawn[body].uniform(low_A, high_A)
                    left_B[body] = drawn[body].integers(1, 2 * hold)
                left_B[body] -= 1
            bodies.act(kept_BA[bodies.active])
        return bodies.lived()

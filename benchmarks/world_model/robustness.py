"""What a changed world costs: actuators that pull less or more, goals where none ever lay in what was learnt from.

Knows a maze before and after the change, and one round of learning; knows no cell of the ablation but the default one.
Invariant: before, changed and relearnt are measured on the same reset seeds, and the round of learning on others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.report import figure, progress
from benchmarks.world_model.bodies import experience_of
from benchmarks.world_model.episodes import Will, held_out_seeds, planned
from benchmarks.world_model.mazes import MAZES, Name, world
from benchmarks.world_model.statistics import paired_difference
from benchmarks.world_model.success import PAIRS, Cell, cost_of, episodes, succeeded
from benchmarks.world_model.trained import CONFIG, Trained, fitted
from loops.environments import EnvironmentSettings
from world_model.experience import joined
from world_model.plan.settings import PlanSettings

DROP = 0.10
"""Aim of issue "A world model that earns its place", section "Figures"."""
LESSONS = 50
"""Episodes of the round of learning."""
STEPS = 500
"""Of its training, which goes on from the model that was there."""
OURS = Cell("jepa", "graph")


class Change(NamedTuple):
    name: str
    before: EnvironmentSettings
    after: EnvironmentSettings


def changes(maze: Name) -> tuple[Change, ...]:
    """With what each is compared: the world as it was, and goals where they lay."""
    plain, at = world(maze), MAZES[maze]
    return (
        Change("gain_80", plain, world(maze, gain=0.8)),
        Change("gain_120", plain, world(maze, gain=1.2)),
        Change("new_goals", world(maze, goals=at.seen_goals), world(maze, goals=at.new_goals)),
    )


def relearnt(found: Trained, change: Change) -> Trained:
    """After one round: episodes in the changed world, added to what was known, and a short training on all of it."""
    seeds = held_out_seeds(LESSONS, seed=found.seed, use=f"lessons-{change.name}")
    progress("bench-world-model", f"{found.maze}, seed {found.seed}: a round of {LESSONS} episodes in {change.name}")
    lived = planned(change.after, seeds, found.jepa, Will(cost_of(found, OURS), PlanSettings(), found.seed))
    known = found.gathered.learnt
    everything = joined([known, experience_of(known.layout, [one for one in lived if len(one.done_TA)])])
    config = CONFIG.model_copy(update={"steps": STEPS})
    jepa, landmarks, train_s = fitted(
        f"{found.maze}-{found.seed}-{change.name}",
        everything,
        config,
        seed=found.seed,
        data=f"{found.data}+{change.name}",
        start=found.jepa,
    )
    return dataclasses.replace(found, jepa=jepa, landmarks=landmarks, train_s=train_s)


def report(maze: Name, found: Sequence[Trained], *, pairs: int = PAIRS) -> None:
    """Prints each drop, before and after the round of learning, as a share: .1 is ten points."""
    for change in changes(maze):
        outcomes = [_outcomes(one, change, pairs=pairs) for one in found]
        before, changed, later = (np.concatenate([one[place] for one in outcomes]) for place in range(3))
        for name, after in (("drop", changed), ("drop_relearnt", later)):
            drop = paired_difference(before, after)
            progress("bench-world-model", f"{name}_{change.name}_{maze} {drop}")
            figure(
                f"{name}_{change.name}_{maze}",
                value=drop.value,
                unit="share",
                op="<=",
                aim=DROP,
                samples=(before - after).tolist(),
            )


def _outcomes(found: Trained, change: Change, *, pairs: int) -> tuple[list[float], list[float], list[float]]:
    use = "robustness"

    def live(who: Trained, where: EnvironmentSettings) -> list[float]:
        return succeeded(episodes(who, OURS, PlanSettings(), where, pairs=pairs, use=use))

    before, changed = live(found, change.before), live(found, change.after)
    return before, changed, live(relearnt(found, change), change.after)

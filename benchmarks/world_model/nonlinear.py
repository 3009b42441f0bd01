"""A world that no linear model can plan in: a pendulum that is swung up and held, by the JEPA and by the linear model.

Knows where Pendulum-v1 says upright, for the judge alone; models and planner see three numbers and a reward. Invariant:
both models have the same experience, graph, planner and held-out starts, so their episodes pair."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import figure, progress, short
from benchmarks.world_model.episodes import Foresight, Will, held_out_seeds, planned
from benchmarks.world_model.kept import Row, once
from benchmarks.world_model.statistics import paired_difference, rate
from benchmarks.world_model.trained import code
from benchmarks.world_model.wandering import wander
from loops.environments import EnvironmentSettings
from telemetry.events.values import canonical
from world_model.experience import Experience
from world_model.frozen import learn_linear
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import fit
from world_model.plan.landmarks import Landmarks
from world_model.plan.settings import PlanSettings

JEPA_MINUS_LINEAR: Final = 0.3
"""Floor of issue "A world model that earns its place", section "Figures"."""

WORLD: Final = EnvironmentSettings(id="gymnasium:Pendulum-v1", frames=2, max_frames=200)
SESSIONS, HOLD = 200, 4
"""Episodes at random, 100 decisions each: 20,000 transitions."""

UPRIGHT, HELD = 0.95, 25
"""Success: cos θ stays above it, 18° off, after each of the last so many decisions, 2.5 s of the episode's 10."""

PAIRS: Final = 100
CONFIG: Final = JepaConfig()
SETTINGS: Final = PlanSettings()

Name = Literal["jepa", "linear"]


@dataclass(frozen=True, slots=True)
class Contender:
    foresight: Foresight
    landmarks: Landmarks


def contenders(seed: int) -> dict[Name, Contender]:
    """Both, from the same transitions; outcomes are the latent, and the standardised observation."""
    began = time.perf_counter()
    lived = wander(WORLD, count=SESSIONS, seed=seed, hold=HOLD)
    jepa = fit(lived, CONFIG, seed=seed).model
    progress("bench-world-model", f"pendulum, seed {seed}: trained after {time.perf_counter() - began:.0f} s")
    linear = learn_linear(lived)
    return {
        "jepa": Contender(jepa, _mapped(jepa.outcomes(lived), lived, seed=seed)),
        "linear": Contender(linear, _mapped(linear.outcomes(lived), lived, seed=seed)),
    }


def _mapped(outcome_NG: NDArray[np.floating], lived: Experience, *, seed: int) -> Landmarks:
    return Landmarks.of(outcome_NG, lived, seed=seed)


def episodes(name: Name, found: Contender, *, seed: int, pairs: int) -> list[Row]:
    seeds = held_out_seeds(pairs, seed=seed, use="pendulum")
    cost = found.landmarks.preferred()
    lived = planned(WORLD, seeds, found.foresight, Will(lambda _: cost, SETTINGS, seed))
    return [
        {
            "model": name,
            "pair": pair,
            "reset_seed": reset,
            "success": bool((one.seen_TD[-HELD:, 0] > UPRIGHT).all()),
            "upright": round(float((one.seen_TD[-HELD:, 0] > UPRIGHT).mean()), 3),
        }
        for pair, (reset, one) in enumerate(zip(seeds, lived, strict=True))
    ]


def measure(seed: int, *, pairs: int = PAIRS) -> list[Row]:
    """Raw results of both models on the starts of one seed."""
    key: Row = {
        "seed": seed,
        "pairs": pairs,
        "world": WORLD.model_dump_json(),
        "config": canonical(CONFIG).decode(),
        "plan": canonical(SETTINGS).decode(),
        "code": code("world_model/jepa", "world_model/plan", "benchmarks/world_model/nonlinear.py"),
    }

    def live() -> list[Row]:
        found = contenders(seed)
        return [row for name in found for row in episodes(name, found[name], seed=seed, pairs=pairs)]

    return once("nonlinear", key, live)


def report(seeds: Sequence[int]) -> None:
    """Over all seeds."""
    pairs = PAIRS // 2 if short() else PAIRS
    rows = [row for seed in seeds for row in measure(seed, pairs=pairs)]
    ours, theirs = (
        [float(bool(row["success"])) for row in rows if row["model"] == name] for name in ("jepa", "linear")
    )
    for name, of in (("jepa", ours), ("linear", theirs)):
        figure(f"pendulum_success_{name}", value=rate(of).value, unit="share", op=">=", samples=of)
        progress("bench-world-model", f"pendulum held upright, {name}: {rate(of)}")
    found = paired_difference(ours, theirs)
    progress("bench-world-model", f"jepa_minus_linear_nonlinear {found}")
    samples = [a - b for a, b in zip(ours, theirs, strict=True)]
    for end, value, floor in (
        ("", found.value, JEPA_MINUS_LINEAR),
        ("_low", found.low, None),
        ("_high", found.high, None),
    ):
        figure(f"jepa_minus_linear_nonlinear{end}", value=value, unit="share", op=">=", floor=floor, samples=samples)

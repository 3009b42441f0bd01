"""What a decision costs: belief and plan, alone and eight sessions at once, beside the linear model's.

Knows the clock; the models take turns. Invariant: every timed decision is of another held-out start, and its goal's
field was made before, as it is for all but the first decision of an episode."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import torch

from benchmarks.report import figure, progress
from benchmarks.world_model.bodies import Bodies
from benchmarks.world_model.episodes import Foresight, held_out_seeds
from benchmarks.world_model.mazes import world
from benchmarks.world_model.trained import Trained
from world_model.plan.cost import Cost
from world_model.plan.planner import plan
from world_model.plan.settings import PlanSettings

PLAN_MS, PLAN_MS_AIM = 100.0, 30.0
"""Bounds of issue "A world model that earns its place", section "Figures"."""
BATCH = 8
WARM = 3


def report(found: Trained, *, decisions: int) -> None:
    """Prints milliseconds a decision; in a batch, of the batch over its sessions."""
    progress("bench-world-model", f"{decisions} decisions on {torch.get_num_threads()} threads")
    models: dict[str, Foresight] = {"": found.jepa, "_linear": found.linear}
    for batch, name in ((1, "plan_ms_p50"), (BATCH, f"plan_ms_batched_{BATCH}")):
        spent = _spent(found, list(models.values()), batch=batch, decisions=decisions)
        for suffix, samples in zip(models, spent, strict=True):
            main = not suffix and batch == 1
            figure(
                name + suffix,
                value=median(samples),
                unit="ms",
                op="<=",
                floor=PLAN_MS if main else None,
                aim=PLAN_MS_AIM if main else None,
                samples=samples,
            )


def _spent(found: Trained, models: Sequence[Foresight], *, batch: int, decisions: int) -> list[list[float]]:
    spent: list[list[float]] = [[] for _ in models]
    for number in range(WARM + decisions):
        decide = _decision(found, batch=batch, number=number)
        for place, model in enumerate(models):
            began = time.perf_counter()
            decide(model)
            if number >= WARM:
                spent[place].append((time.perf_counter() - began) * 1e3 / batch)
    return spent


def _decision(found: Trained, *, batch: int, number: int) -> Callable[[Foresight], None]:
    with Bodies(world(found.maze), batch) as bodies:
        bodies.reset(held_out_seeds(batch, seed=found.seed, use=f"planning-{number}"))
        histories = [bodies.history(body, found.jepa.history) for body in range(batch)]
        costs: list[Cost] = [found.landmarks.toward(bodies.desired(body)) for body in range(batch)]
    controls = found.gathered.learnt.layout.controls

    def decide(model: Foresight) -> None:
        start_BZ = torch.from_numpy(np.stack([model.believe(*history) for history in histories]))
        noise = [np.random.default_rng((number, body)) for body in range(batch)]
        plan(model, start_BZ, costs, controls, noise, PlanSettings())

    return decide

"""A few good things to do next, for many sessions at once, each with its expected free energy.

Knows a `Forward`, costs and controls; knows no model, environment or log. Invariant: the same beliefs, costs and
generators' states give the same plans, and a session's plan is that of planning for it alone, up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from world_model.errors import ShapeError
from world_model.layout import Controls
from world_model.plan.beam import Beam
from world_model.plan.cem import Search
from world_model.plan.cost import Cost
from world_model.plan.energy import gumbel_order, policy_posterior
from world_model.plan.forward import Forward
from world_model.plan.settings import PlanSettings
from world_model.plan.weigh import Weighed, weigh

# B = sessions, N = courses of action, H = decisions ahead, A = width of controls, Z = width of what is believed,
# G = width of outcome space

OPTIONS: Final = 8
"""At most so many options a plan: what a decision records."""


@dataclass(frozen=True, slots=True)
class PlannedOption:
    """The first control of the best course found that begins with it."""

    control_A: NDArray[np.float32]
    """In the controls' own units; one-hot where they are discrete."""
    energy: float
    """G of the course in nats: `pragmatic` − β `epistemic`."""
    pragmatic: float
    epistemic: float
    probability: float
    """softmax(−γG) over the options of this plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The options in the order of a draw without replacement by their probabilities: the first is the one to take."""

    options: tuple[PlannedOption, ...]
    latent_Z: NDArray[np.float32]
    """Foreseen after the first option's control."""
    outcome_G: NDArray[np.float32]
    """Where that is in outcome space."""


def plan(
    forward: Forward,
    start_BZ: Tensor,
    costs: Sequence[Cost],
    controls: Controls,
    noise: Sequence[np.random.Generator],
    settings: PlanSettings,
) -> list[Plan]:
    """One plan for each session; `start_BZ` is what each believes, `costs` what it wants, `noise` its own generator.

    Raises ShapeError where these are not equally many."""
    if not len(start_BZ) == len(costs) == len(noise) > 0:
        raise ShapeError(f"{len(start_BZ)} beliefs, {len(costs)} costs and {len(noise)} generators; one each a session")
    with torch.inference_mode():
        if controls.kind == "box":
            weighed = _box(forward, start_BZ, costs, controls, noise, settings)
        else:
            weighed = _discrete(forward, start_BZ, costs, controls, settings)
        return [_options(weighed, row, generator, settings) for row, generator in enumerate(noise)]


def _box(
    forward: Forward,
    start_BZ: Tensor,
    costs: Sequence[Cost],
    controls: Controls,
    noise: Sequence[np.random.Generator],
    settings: PlanSettings,
) -> Weighed:
    search = Search(controls, settings, noise)
    weighed = weigh(forward, start_BZ, costs, search.ask(), settings)
    for _ in range(settings.iterations - 1):
        search.tell(weighed.energy.total)
        weighed = weigh(forward, start_BZ, costs, search.ask(), settings)
    return weighed


def _discrete(
    forward: Forward, start_BZ: Tensor, costs: Sequence[Cost], controls: Controls, settings: PlanSettings
) -> Weighed:
    # Each depth is foreseen from the start: carried on from the mean belief, the heads would agree again.
    beam = Beam(sessions=len(costs), choices=controls.width, width=settings.beam, horizon=settings.horizon)
    weighed = weigh(forward, start_BZ, costs, beam.ask(), settings)
    for _ in range(settings.horizon - 1):
        beam.tell(weighed.energy.total)
        weighed = weigh(forward, start_BZ, costs, beam.ask(), settings)
    return weighed


def _options(weighed: Weighed, session: int, noise: np.random.Generator, settings: PlanSettings) -> Plan:
    energy_N = weighed.energy.total[session].double().numpy()
    assert np.isfinite(energy_N).all(), "a course of action whose expected free energy is not finite"
    firsts_NA = weighed.controls_BNHA[session, :, 0].numpy()
    best: list[int] = []
    taken: set[bytes] = set()
    for course in np.argsort(energy_N, kind="stable"):
        first = firsts_NA[course].tobytes()
        if first not in taken:
            taken.add(first)
            best.append(int(course))
        if len(best) == OPTIONS:
            break
    probability = policy_posterior(energy_N[best], precision=settings.precision)
    order = gumbel_order(energy_N[best], precision=settings.precision, noise=noise)
    options = tuple(
        PlannedOption(
            control_A=firsts_NA[best[i]].copy(),
            energy=float(energy_N[best[i]]),
            pragmatic=float(weighed.energy.pragmatic[session, best[i]]),
            epistemic=float(weighed.energy.epistemic[session, best[i]]),
            probability=float(probability[i]),
        )
        for i in order
    )
    first = best[order[0]]
    return Plan(
        options=options,
        latent_Z=weighed.latent_BNZ[session, first].numpy().copy(),
        outcome_G=weighed.outcome_BNG[session, first].numpy().copy(),
    )

"""A few good things to do next, for many sessions at once, each with its expected free energy.

Knows a `Forward`, costs and controls; knows no model, environment or log. Invariant: the same beliefs, costs and
generators' states give the same plans, and a session's plan is that of planning for it alone, up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

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

ALTERNATIVES: Final = 3
"""Of them, where controls are continuous, those that begin another way than the best, which lie close together: whoever
forbids one of the best, for where it leads, mostly forbids them all."""

APART: Final = 0.25
"""Share of a control's range by which an alternative differs, in one control at least."""


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
    """The options in the order of a draw without replacement by their probabilities: the first is the one to take.
    Alternatives stand behind those that are drawn among."""

    options: tuple[PlannedOption, ...]
    latent_Z: NDArray[np.float32]
    """Foreseen after the first option's control."""
    outcome_G: NDArray[np.float32]
    """Where that is in outcome space."""


def plan(
    forward: Forward,
    start_BZ: Tensor | NDArray[np.float32],
    costs: Sequence[Cost],
    controls: Controls,
    noise: Sequence[np.random.Generator],
    settings: PlanSettings,
) -> list[Plan]:
    """One plan for each session; `start_BZ` is what each believes, `costs` what it wants, `noise` its own generator.

    Raises ShapeError where these are not equally many."""
    if not len(start_BZ) == len(costs) == len(noise) > 0:
        raise ShapeError(f"{len(start_BZ)} beliefs, {len(costs)} costs and {len(noise)} generators; one each a session")
    start_BZ = torch.as_tensor(start_BZ)
    with torch.inference_mode():
        if controls.kind == "box":
            broad, weighed = _box(forward, start_BZ, costs, controls, noise, settings)
            span_A = np.asarray(controls.high, dtype=np.float32) - np.asarray(controls.low, dtype=np.float32)
            apart_A = APART * span_A
        else:
            broad, apart_A = None, None
            weighed = _discrete(forward, start_BZ, costs, controls, settings)
        return [_plan(weighed, broad, apart_A, row, generator, settings) for row, generator in enumerate(noise)]


def _box(
    forward: Forward,
    start_BZ: Tensor,
    costs: Sequence[Cost],
    controls: Controls,
    noise: Sequence[np.random.Generator],
    settings: PlanSettings,
) -> tuple[Weighed, Weighed]:
    """What was weighed first, all over the bounds, and last, around the best."""
    search = Search(controls, settings, noise)
    broad = weighed = weigh(forward, start_BZ, costs, search.ask(), settings)
    for _ in range(settings.iterations - 1):
        search.tell(weighed.energy.total)
        weighed = weigh(forward, start_BZ, costs, search.ask(), settings)
    return broad, weighed


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


class _Courses(NamedTuple):
    """Some of a session's courses of action."""

    first_NA: NDArray[np.float32]
    """The control that each begins with."""
    energy_N: NDArray[np.float64]
    pragmatic_N: NDArray[np.float64]
    epistemic_N: NDArray[np.float64]
    latent_NZ: NDArray[np.float32]
    outcome_NG: NDArray[np.float32]

    @classmethod
    def of(cls, weighed: Weighed, session: int) -> _Courses:
        """All that were weighed, the least G first."""
        energy = weighed.energy
        total, pragmatic, epistemic = (one[session].double().numpy() for one in energy)
        assert np.isfinite(total).all(), "a course of action whose expected free energy is not finite"
        foreseen = (weighed.latent_BNZ[session].numpy(), weighed.outcome_BNG[session].numpy())
        first_NA = weighed.controls_BNHA[session, :, 0].numpy()
        return cls(first_NA, total, pragmatic, epistemic, *foreseen).take(np.argsort(total, kind="stable"))

    def take(self, which: Sequence[int] | NDArray[np.int64]) -> _Courses:
        return _Courses(
            self.first_NA[which],
            self.energy_N[which],
            self.pragmatic_N[which],
            self.epistemic_N[which],
            self.latent_NZ[which],
            self.outcome_NG[which],
        )

    def then(self, others: _Courses) -> _Courses:
        return _Courses(
            np.concatenate([self.first_NA, others.first_NA]),
            np.concatenate([self.energy_N, others.energy_N]),
            np.concatenate([self.pragmatic_N, others.pragmatic_N]),
            np.concatenate([self.epistemic_N, others.epistemic_N]),
            np.concatenate([self.latent_NZ, others.latent_NZ]),
            np.concatenate([self.outcome_NG, others.outcome_NG]),
        )


def _plan(
    weighed: Weighed,
    broad: Weighed | None,
    apart_A: NDArray[np.float32] | None,
    session: int,
    noise: np.random.Generator,
    settings: PlanSettings,
) -> Plan:
    weighed_last = _Courses.of(weighed, session)
    best = weighed_last.take(_distinct(weighed_last.first_NA))
    drawn = best.take(gumbel_order(best.energy_N, precision=settings.precision, noise=noise))
    if broad is not None and apart_A is not None:
        weighed_first = _Courses.of(broad, session)
        others = weighed_first.take(_apart(weighed_first.first_NA, best.first_NA, apart_A))
        drawn = drawn.take(np.arange(min(len(best.energy_N), OPTIONS - len(others.energy_N)))).then(others)
    probability_N = policy_posterior(drawn.energy_N, precision=settings.precision)
    options = tuple(
        PlannedOption(
            control_A=drawn.first_NA[i],
            energy=float(drawn.energy_N[i]),
            pragmatic=float(drawn.pragmatic_N[i]),
            epistemic=float(drawn.epistemic_N[i]),
            probability=float(probability_N[i]),
        )
        for i in range(len(drawn.energy_N))
    )
    return Plan(options=options, latent_Z=drawn.latent_NZ[0].copy(), outcome_G=drawn.outcome_NG[0].copy())


def _distinct(first_NA: NDArray[np.float32]) -> list[int]:
    """The first OPTIONS rows that differ."""
    known: dict[bytes, int] = {}
    for row, first_A in enumerate(first_NA):
        known.setdefault(first_A.tobytes(), row)
        if len(known) == OPTIONS:
            break
    return list(known.values())


def _apart(
    first_NA: NDArray[np.float32], taken_NA: NDArray[np.float32], apart_A: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The first ALTERNATIVES rows that lie apart from all that are taken, and from each other."""
    found: list[int] = []
    far_NN = (np.abs(first_NA[:, None] - taken_NA[None]) >= apart_A).any(axis=2)
    free_N = far_NN.all(axis=1)
    while len(found) < ALTERNATIVES and free_N.any():
        found.append(int(free_N.argmax()))
        free_N &= (np.abs(first_NA - first_NA[found[-1]]) >= apart_A).any(axis=1)
    return np.array(found, dtype=np.int64)

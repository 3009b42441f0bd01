"""What courses of action are worth to each session: a model's foresight, turned into expected free energy.

Knows rollouts and costs; knows no search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from world_model.plan.cost import Cost
from world_model.plan.energy import Energy, expected_free_energy
from world_model.plan.forward import Forward
from world_model.plan.settings import PlanSettings

# B = sessions, N = courses of action, H = decisions ahead, A = width of controls, Z = width of what is believed,
# G = width of outcome space


DEAREST: Final = 1e30
"""G in nats of a course whose foresight grew beyond what float32 holds, as that of a linear model that has hardly
learnt may, far ahead: dearer than any other, and finite, for it may have to be recorded."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """Courses, their energies (B, N), and what is foreseen after the first decision of each."""

    controls_BNHA: Tensor
    energy: Energy
    outcome_BNG: Tensor
    latent_BNZ: Tensor


def weigh(
    forward: Forward, start_BZ: Tensor, costs: Sequence[Cost], controls_BNHA: Tensor, settings: PlanSettings
) -> Weighed:
    """E[ln p(o|C)] is taken at the mean outcome: the spread of what is foreseen counts as what could be learnt, not
    as a risk."""
    foreseen = forward.rollout(start_BZ, controls_BNHA)
    cost_BNH = torch.stack([cost(outcome_NHG) for cost, outcome_NHG in zip(costs, foreseen.outcome_BNHG, strict=True)])
    energy = expected_free_energy(
        cost_BNH, foreseen.epistemic_BNH, temperature=settings.temperature, weight=settings.epistemic
    )
    return Weighed(
        controls_BNHA=controls_BNHA,
        energy=_bounded(energy),
        outcome_BNG=foreseen.outcome_BNHG[:, :, 0],
        latent_BNZ=foreseen.latent_BNHZ[:, :, 0],
    )


def _bounded(energy: Energy) -> Energy:
    lost_BN = ~(energy.total.isfinite() & energy.pragmatic.isfinite() & energy.epistemic.isfinite())
    return Energy(
        total=energy.total.masked_fill(lost_BN, DEAREST),
        pragmatic=energy.pragmatic.masked_fill(lost_BN, DEAREST),
        epistemic=energy.epistemic.masked_fill(lost_BN, 0.0),
    )

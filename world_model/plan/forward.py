"""What a planner asks of a model: from where it believes to be, what follows each course of action.

Knows shapes; knows no model. Implemented by the JEPA, by the linear model, and by a benchmark's true simulator."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

# B = sessions planned for at once, N = courses of action, H = decisions ahead, A = width of controls,
# Z = width of what is believed, G = width of outcome space


class Rollout(NamedTuple):
    """What is foreseen after each of H decisions."""

    outcome_BNHG: Tensor
    """Where that is in outcome space: the achieved goal in its own units where the layout has one, else the latent."""
    epistemic_BNH: Tensor
    """What would be learnt there, in nats, ≥ 0: ½ Σ log(1 + Var_heads / σ²)."""
    latent_BNHZ: Tensor
    """The mean over the heads."""


class Forward(Protocol):
    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        """Open loop. Controls are flat and in their own units; discrete ones are one-hot. float32, no gradient."""
        ...

"""The linear model as a planner's foresight: the baseline that every other model is measured against.

Knows `LinearModel`; what is believed is the flat observation itself. Invariant: a snapshot, so what the model learns
later changes nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from world_model.errors import ShapeError
from world_model.layout import Layout
from world_model.linear import LinearModel
from world_model.plan.forward import Rollout

# B = sessions, N = courses of action, H = decisions ahead, A = width of controls, D = width of what is seen,
# F = features = 1 + D + A


class LinearForward:
    """Outcomes are the achieved goal where the layout has one, else the flat observation, standardised by `centre` and
    `spread` where they are given, shapes (D,).

    With every dimension sharing one leverage, what a decision would teach is D · ½ log(1 + φᵀPφ) nats: the mutual
    information between the next observation and the weights in Bayesian linear regression (MacKay, *Information-based
    objective functions for active data selection*, Neural Computation 4(4), 1992)."""

    def __init__(self, model: LinearModel, layout: Layout, *, centre: ArrayLike = 0.0, spread: ArrayLike = 1.0) -> None:
        if (model.width, model.action_width) != (layout.width, layout.controls.width):
            raise ShapeError(
                f"a linear model of {model.width} observed and {model.action_width} action dimensions cannot foresee "
                f"{layout.describe()}"
            )
        weights_DF, root_FF = model.coefficients()
        self._goal = layout.goal
        self._weights_FD = torch.as_tensor(weights_DF.T.copy(), dtype=torch.float32)
        self._root_FF = torch.as_tensor(root_FF, dtype=torch.float32)
        self._centre_D = torch.as_tensor(np.broadcast_to(np.asarray(centre), model.width).copy(), dtype=torch.float32)
        self._spread_D = torch.as_tensor(np.broadcast_to(np.asarray(spread), model.width).copy(), dtype=torch.float32)

    @classmethod
    def beside(cls, forwards: Sequence[LinearForward]) -> LinearForward:
        """For as many sessions, in this order, each by its own model; all of one layout."""
        together = copy(forwards[0])
        for name in ("_weights_FD", "_root_FF"):
            setattr(together, name, torch.stack([getattr(each, name) for each in forwards]))
        return together

    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        sessions, courses, horizon, _ = controls_BNHA.shape
        seen_BND = start_BZ.float()[:, None].expand(-1, courses, -1)
        one_BN1 = torch.ones((sessions, courses, 1))
        steps: list[Tensor] = []
        learnt: list[Tensor] = []
        for step in range(horizon):
            feature_BNF = torch.cat([one_BN1, seen_BND, controls_BNHA[:, :, step]], dim=-1)
            seen_BND = seen_BND + feature_BNF @ self._weights_FD
            steps.append(seen_BND)
            learnt.append(torch.log1p((feature_BNF @ self._root_FF).square().sum(-1)))
        seen_BNHD = torch.stack(steps, dim=2)
        if self._goal:
            outcome = seen_BNHD[..., -self._goal :]
        else:
            outcome = (seen_BNHD - self._centre_D) / self._spread_D
        epistemic = torch.stack(learnt, dim=2) * (0.5 * seen_BNHD.shape[-1])
        return Rollout(outcome_BNHG=outcome, epistemic_BNH=epistemic, latent_BNHZ=seen_BNHD)

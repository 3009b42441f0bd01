"""Search over courses of box controls: the cross-entropy method, and model predictive path integral control.

Knows bounds and energies; knows no model. Invariant: a session's courses depend on nothing of the other sessions'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from world_model.layout import Controls
from world_model.plan.settings import PlanSettings

# B = sessions, N = courses of action, H = decisions ahead, A = width of controls, M = elites

FIRST_SPREAD: Final = 1.0
"""Of half a control's range, before anything was weighed."""

LEAST_SPREAD: Final = 0.1
"""Of half a control's range: the courses weighed last still differ, so there is something to choose between."""


class Search:
    """Ask for courses, tell their energies, and again; the courses asked for last are what is chosen among.

    `cem` draws the next courses around the mean and with the spread of the elites (Rubinstein & Kroese, *The
    Cross-Entropy Method*, 2004); `mppi` around the mean of all, weighted by exp(−γ(G − least)), with a spread that
    stays (Williams et al., *Information theoretic MPC*, ICRA 2017). Noise persists from one decision to the next, as
    in iCEM (Pinneri et al., CoRL 2020). The mean itself and the best course so far are always among the candidates."""

    def __init__(self, controls: Controls, settings: PlanSettings, noise: Sequence[np.random.Generator]) -> None:
        """`noise` is each session's own."""
        low_A, high_A = torch.tensor(controls.low), torch.tensor(controls.high)
        self._settings = settings
        self._noise = noise
        self._centre_A, self._half_A = (low_A + high_A) / 2, (high_A - low_A) / 2
        shape = (len(noise), settings.horizon, controls.width)
        # Everything below is in units of half a control's range, around its middle.
        self._mean_BHA = torch.zeros(shape)
        self._spread_BHA = torch.full(shape, FIRST_SPREAD)
        self._best_BHA: Tensor | None = None
        self._least_B = torch.full((len(noise),), torch.inf)
        self._asked_BNHA = torch.zeros((len(noise), 0, *shape[1:]))

    def ask(self) -> Tensor:
        """Courses to weigh, in the controls' own units and within their bounds, shape (B, N, H, A)."""
        courses_BNHA = self._mean_BHA[:, None] + self._spread_BHA[:, None] * self._draw()
        courses_BNHA[:, 0] = self._mean_BHA
        if self._best_BHA is not None:
            courses_BNHA[:, 1] = self._best_BHA
        self._asked_BNHA = courses_BNHA.clamp(-1, 1)
        return self._centre_A + self._half_A * self._asked_BNHA

    def tell(self, energy_BN: Tensor) -> None:
        """G of the courses asked for last, finite."""
        least_B, which_B = energy_BN.min(dim=1)
        best_BHA = self._asked_BNHA[torch.arange(len(which_B)), which_B]
        if self._best_BHA is not None:
            best_BHA = torch.where((least_B < self._least_B)[:, None, None], best_BHA, self._best_BHA)
        self._best_BHA, self._least_B = best_BHA, torch.minimum(least_B, self._least_B)
        if self._settings.search == "cem":
            elite_BM = energy_BN.topk(self._settings.elites, dim=1, largest=False).indices
            elite_BMHA = torch.take_along_dim(self._asked_BNHA, elite_BM[:, :, None, None], dim=1)
            self._mean_BHA = elite_BMHA.mean(dim=1)
            self._spread_BHA = elite_BMHA.std(dim=1, correction=0).clamp(min=LEAST_SPREAD)
        else:
            weight_BN = torch.softmax(-self._settings.precision * energy_BN, dim=1)
            self._mean_BHA = torch.einsum("bn,bnha->bha", weight_BN, self._asked_BNHA)

    def _draw(self) -> Tensor:
        """Standard normal noise whose neighbours in H correlate by `persistence`, shape (B, N, H, A)."""
        keep = self._settings.persistence
        _, horizon, width = self._mean_BHA.shape
        shape = (self._settings.candidates, horizon, width)
        drawn_BNHA = torch.from_numpy(np.stack([one.standard_normal(shape, dtype=np.float32) for one in self._noise]))
        for step in range(1, horizon):
            drawn_BNHA[:, :, step] *= (1 - keep**2) ** 0.5
            drawn_BNHA[:, :, step] += keep * drawn_BNHA[:, :, step - 1]
        return drawn_BNHA

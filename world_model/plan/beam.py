"""Search over courses of discrete controls: the best of each depth are carried on with every choice.

Knows choices and energies; knows no model. Invariant: when `beam` holds every course, all of them are weighed."""

from __future__ import annotations

import torch
from torch import Tensor

# B = sessions, N = courses of action, H = decisions ahead


class Beam:
    """Ask for courses, tell their energies, and again `horizon` times; each time they are one decision longer.

    The best course that begins with each choice is always kept where the beam is wide enough, so that what is chosen
    among differs in what is done next, not in what is done later."""

    def __init__(self, *, sessions: int, choices: int, width: int, horizon: int) -> None:
        self._horizon = horizon
        self._choices = choices
        self._width = width
        self._kept_BNH = torch.zeros((sessions, 1, 0), dtype=torch.int64)

    def ask(self) -> Tensor:
        """Courses to weigh, one-hot float32, shape (B, N, decisions so far, choices)."""
        sessions, kept, depth = self._kept_BNH.shape
        assert depth < self._horizon, "asked for more decisions than the horizon holds"
        before = self._kept_BNH.repeat_interleave(self._choices, dim=1)
        choice = torch.arange(self._choices).repeat(kept).expand(sessions, -1)[..., None]
        self._kept_BNH = torch.cat([before, choice], dim=2)
        return torch.nn.functional.one_hot(self._kept_BNH, self._choices).float()

    def tell(self, energy_BN: Tensor) -> None:
        """G of the courses asked for last, finite."""
        order_BN = energy_BN.argsort(dim=1, stable=True)
        if self._width >= self._choices:
            first_BN = torch.take_along_dim(self._kept_BNH[:, :, 0], order_BN, dim=1)
            begins_BNA = torch.nn.functional.one_hot(first_BN, self._choices)
            best_BN = ((begins_BNA.cumsum(dim=1) == 1) & (begins_BNA == 1)).any(dim=2)
            ahead_BN = (~best_BN).long().argsort(dim=1, stable=True)
            order_BN = torch.take_along_dim(order_BN, ahead_BN, dim=1)
        kept_BN = order_BN[:, : self._width]
        self._kept_BNH = torch.take_along_dim(self._kept_BNH, kept_BN[..., None], dim=1)

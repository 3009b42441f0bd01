"""What follows an action, in latent space: several predictors side by side, each a residual network.

Knows latents and controls; knows nothing of what they were made from."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

# E = heads, N = items, Z = width of a latent, A = width of controls

FIRST_STEP: Final = 0.1
"""Scale of the last layer's first weights: an untrained predictor is close to the copy baseline, as the linear model
is at it, and its heads still differ."""


class Predictor(nn.Module):
    """z + f(z, a) for each head, f with two hidden layers, all heads in one batched product."""

    def __init__(self, latent: int, controls: int, *, hidden: int, heads: int) -> None:
        super().__init__()
        self.first = HeadLinear(heads, latent + controls, hidden)
        self.second = HeadLinear(heads, hidden, hidden)
        self.last = HeadLinear(heads, hidden, latent, scale=FIRST_STEP)

    def forward(self, latent_ENZ: Tensor, control_NA: Tensor) -> Tensor:
        """What each head expects after the controls from its own latent."""
        control_ENA = control_NA.expand(len(latent_ENZ), *control_NA.shape)
        hidden_ENH = nn.functional.silu(self.first(torch.cat((latent_ENZ, control_ENA), dim=-1)))
        hidden_ENH = nn.functional.silu(self.second(hidden_ENH))
        return torch.add(latent_ENZ, self.last(hidden_ENH))


class HeadLinear(nn.Module):
    """An affine map for each head."""

    def __init__(self, heads: int, inputs: int, outputs: int, *, scale: float = 1.0) -> None:
        super().__init__()
        bound = scale / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(heads, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(heads, 1, outputs).uniform_(-bound, bound))

    def forward(self, values_ENI: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, values_ENI, self.weight)

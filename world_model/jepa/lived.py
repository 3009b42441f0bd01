"""What a network believes at each row of what was lived.

Knows rows and a network; changes neither."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from world_model.experience import Experience
from world_model.jepa.lesson import windows
from world_model.jepa.network import Network

AT_ONCE: Final = 4096
"""Rows that are encoded together: bounds the memory, whatever the length of what was lived."""


@torch.no_grad()
def beliefs_of(network: Network, experience: Experience, *, device: str = "cpu") -> Tensor:
    """Shape (N, Z), each from its row and the K − 1 before it in its episode."""
    pieces: list[Tensor] = []
    for first in range(0, len(experience), AT_ONCE):
        rows_N = np.arange(first, min(first + AT_ONCE, len(experience)))
        rows_NK, present_NK = windows(experience, rows_N, history=network.history, ahead=0)
        seen_NKD = torch.from_numpy(experience.seen_ND[rows_NK]).to(device)
        done_NKA = torch.from_numpy(experience.done_NA[rows_NK]).to(device)
        pieces.append(network.beliefs(seen_NKD, done_NKA, torch.from_numpy(present_NK).to(device))[:, 0])
    return torch.cat(pieces)

"""What the lived columns are like before training, and how far a trained network errs on held-out sessions after it.

Knows rows and a network's statistics; changes nothing else of it."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from world_model.experience import Experience
from world_model.jepa.lesson import windows
from world_model.jepa.network import Network
from world_model.jepa.senses import Sense
from world_model.layout import Controls
from world_model.linear import VARIANCE_FLOOR

# N = rows, D = columns seen, Z = latent, E = heads

CONSTANT: Final = 1e-6
"""A column whose deviation is below this share of its mean's size never moved; its scale is 1."""


def put_on_one_scale(network: Network, experience: Experience, senses: tuple[Sense, ...]) -> None:
    """Sets the mean and scale of each column and control. A vector's columns each have their own deviation; those of a
    one-hot part or a picture share one, so that a rare value weighs no more than its size. Values that are not finite
    are left out."""
    mean_D, scale_D = _moments(experience.seen_ND)
    first = 0
    for sense in senses:
        part = slice(first, first + sense.width)
        if sense.kind != "vector":
            scale_D[part] = np.sqrt(np.square(scale_D[part]).mean())
        scale_D[part] = np.where(scale_D[part] > CONSTANT * (1 + np.abs(mean_D[part])), scale_D[part], 1.0)
        first += sense.width
    network.encoder.mean_D.copy_(torch.from_numpy(mean_D))
    network.encoder.scale_D.copy_(torch.from_numpy(scale_D))
    _controls(network, experience.layout.controls, experience.done_NA[experience.steps_N])


def _controls(network: Network, controls: Controls, done_NA: NDArray[np.float32]) -> None:
    if controls.kind == "discrete":
        return
    mean_A, scale_A = _moments(done_NA)
    network.control_mean_A.copy_(torch.from_numpy(mean_A))
    network.control_scale_A.copy_(torch.from_numpy(np.where(scale_A > CONSTANT, scale_A, 1.0)))


def measure(network: Network, held_out: Experience) -> None:
    """Sets σ² of each latent column, and the mean squared errors of what is read out and of the copy baseline, all one
    step ahead over the held-out transitions that follow `history` known rows or an episode's beginning."""
    now_N = np.flatnonzero(held_out.steps_N)
    latent_Z, residual_D, copied_D = (
        torch.zeros_like(t) for t in (network.latent_noise_Z, network.residual_D, network.copy_D)
    )
    for part in np.array_split(now_N, max(1, len(now_N) // 1024)):
        rows, present = windows(held_out, part, history=network.history, ahead=1)
        seen = torch.from_numpy(held_out.seen_ND[rows])
        done = torch.from_numpy(held_out.done_NA[rows])
        with torch.no_grad():
            belief = network.beliefs(seen, done, torch.from_numpy(present))
            ahead = network.foresee(belief[:, 0], done[:, -2:-1])[0].mean(dim=0)
            read = network.encoder.natural(network.read(ahead))
            latent_Z += (ahead - belief[:, 1]).square().sum(dim=0)
            residual_D += (read - seen[:, -1]).square().sum(dim=0)
            copied_D += (seen[:, -2] - seen[:, -1]).square().sum(dim=0)
    count = len(now_N)
    network.latent_noise_Z.copy_((latent_Z / count).clamp(min=VARIANCE_FLOOR))
    network.residual_D.copy_(residual_D / count)
    network.copy_D.copy_(copied_D / count)


def _moments(values_ND: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    known_ND = np.isfinite(values_ND)
    count_D = np.maximum(known_ND.sum(axis=0), 1)
    zeroed_ND = np.where(known_ND, values_ND, 0)
    mean_D = zeroed_ND.sum(axis=0, dtype=np.float64) / count_D
    square_D = np.square(np.where(known_ND, values_ND - mean_D, 0), dtype=np.float64).sum(axis=0) / count_D
    return mean_D.astype(np.float32), np.sqrt(square_D).astype(np.float32)

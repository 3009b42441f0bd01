"""Whether latents still tell apart what inputs tell apart.

Knows clouds of points; knows no model."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# N = points, Z = columns of a latent, D = columns of an input

LEAST_RANK: Final = 0.5
"""Of the inputs' effective rank: a share, from the issue that asked for the watch."""

LEAST_SPREAD: Final = 0.1
"""Standard deviation of a latent column; SIGReg holds it near 1."""


def effective_rank(points_ND: NDArray[np.float32], *, most: int | None = None) -> float:
    """exp of the entropy of the normalised singular values of the centred points, ≥ 1, or 0 when all points are one;
    of the `most` largest where given. Roy & Vetterli, *The effective rank*, EUSIPCO 2007."""
    centred = points_ND.astype(np.float64) - points_ND.mean(axis=0, dtype=np.float64)
    values = np.linalg.svd(centred, compute_uv=False)[:most]
    values = values[values > 0]
    if not len(values):
        return 0.0
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def collapsed(latent_NZ: NDArray[np.float32], input_ND: NDArray[np.float32]) -> str | None:
    """Why these latents of these inputs count as collapsed; None where they do not.

    Inputs are compared by as many principal components as the latent has columns: it can hold no more."""
    if not np.isfinite(latent_NZ).all():
        return f"latents of {len(latent_NZ)} observations are not finite"
    spread_Z = latent_NZ.std(axis=0, dtype=np.float64)
    least = int(spread_Z.argmin())
    if spread_Z[least] < LEAST_SPREAD:
        return (
            f"latent column {least} has a spread of {spread_Z[least]:.3g} over {len(latent_NZ)} observations, below "
            f"{LEAST_SPREAD}"
        )
    rank, inputs = effective_rank(latent_NZ), effective_rank(input_ND, most=latent_NZ.shape[1])
    if rank < LEAST_RANK * inputs:
        return (
            f"the latents' effective rank is {rank:.2f}, below half the {inputs:.2f} of the inputs' first "
            f"{latent_NZ.shape[1]} principal components"
        )
    return None

"""From what is seen to the vector it is found by.

Knows flat numeric vectors; texts are not embedded in this cut, so an observation of words alone cannot be
recalled. Invariant: one embedder id always gives the same vector for the same observation."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memory.errors import ShapeError
from telemetry.events.values import ModelId

# D = width of what is seen, E = width of the embedding

MAX_WIDTH: Final = 256
"""Wider vectors are projected to this width (Johnson & Lindenstrauss). A distance is then off by more than an
eighth with a probability below 4 %, and by more than a quarter below one in a million (chi-square tails as in
Dasgupta & Gupta, *An elementary proof of a theorem of Johnson and Lindenstrauss*, 2003, Lemma 2.2). Measured:
an exact search among 6,000 episodes of this width takes 1 ms."""

PROJECTION_SEED: Final = 20260
"""Part of what the id names: another seed is another embedder, so `@2`."""


class VectorEmbedder:
    """Numbers as they are, in float32; above `MAX_WIDTH` dimensions their seeded Gaussian projection.

    Euclidean distance between embeddings is, or approximates, that between observations in their own units: a
    dimension of large numbers weighs more."""

    def __init__(self, width: int) -> None:
        """`width` D ≥ 1, the length of the flat observation. Raises ShapeError for 0."""
        if width < 1:
            raise ShapeError(
                "nothing numeric is seen, and texts are not embedded in this version. "
                'Set when = "never" and recall = 0 under [memory]'
            )
        self.width = width
        self.projected = width > MAX_WIDTH
        self.embedder: ModelId = f"vector-{width}-to-{MAX_WIDTH}@1" if self.projected else f"vector-{width}@1"
        self._projection_DE = _gaussian(width) if self.projected else None

    @property
    def size(self) -> int:
        """E, the length of an embedding."""
        return min(self.width, MAX_WIDTH)

    def embed(self, flat: ArrayLike) -> NDArray[np.float32]:
        """The embedding, float32, shape (E,), of a flat observation, shape (D,). Raises ShapeError."""
        seen_D = np.asarray(flat, dtype=np.float64)
        if seen_D.shape != (self.width,):
            raise ShapeError(
                f"an observation of shape {seen_D.shape} came to {self.embedder}, which takes ({self.width},)"
            )
        return (seen_D if self._projection_DE is None else seen_D @ self._projection_DE).astype(np.float32)


def _gaussian(width: int) -> NDArray[np.float32]:
    """Independent N(0, 1/E), shape (D, E). RandomState and not Generator: NEP 19 freezes its stream for
    ever."""
    normal = np.random.RandomState(PROJECTION_SEED).standard_normal((width, MAX_WIDTH))
    return (normal / math.sqrt(MAX_WIDTH)).astype(np.float32)

"""Counter-based randomness: every draw is a function of where it happens, so nothing is carried.

Knows Philox and SHA-256. Invariant: equal places give equal draws, on every machine."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *place: str | int) -> int:
    """A seed in [0, 2**31) for the given place under `seed`, by SHA-256."""
    return int.from_bytes(_digest(seed, place)[:4], "big") >> 1


def generator(seed: int, *, cycle: int, phase: str, ordinal: int = 0) -> np.random.Generator:
    """Philox keyed by H(seed, cycle, phase, ordinal) (Salmon et al., "Parallel random numbers", SC 2011)."""
    key = int.from_bytes(_digest(seed, (cycle, phase, ordinal))[:16], "big")
    return np.random.Generator(np.random.Philox(key=key))


def _digest(seed: int, place: tuple[str | int, ...]) -> bytes:
    return hashlib.sha256("\x1f".join(map(str, ("aetherloop/random", seed, *place))).encode()).digest()

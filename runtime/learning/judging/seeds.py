"""What the pairs of an evaluation begin with.

Knows seeds; knows no session. Invariant: no two pairs of any evaluations on a log begin alike, and none of them as
another session of it did."""

from __future__ import annotations

from collections.abc import Container, Iterable

from loops.randomness import derive
from telemetry.events.values import ModelId


def pair_seeds(
    root: int, candidate: ModelId, incumbent: ModelId, pairs: Iterable[int], *, taken: Container[int]
) -> dict[int, int]:
    """A seed for each of `pairs`, of the scenario's `root`, who is judged, and against whom. One that is `taken`, or
    another pair's, is drawn again: of 2³¹ there are, chance alone takes one in some million."""
    found: dict[int, int] = {}
    drawn: set[int] = set()
    for pair in pairs:
        attempt = 0
        while (seed := derive(root, "evaluation", candidate, incumbent, pair, attempt)) in taken or seed in drawn:
            attempt += 1
        drawn.add(seed)
        found[pair] = seed
    return found

"""Which cycles become episodes. Knows a cycle's figures; knows nothing of how episodes are kept.

Invariant: the answer depends on recorded figures alone, so a replay decides alike."""

from __future__ import annotations

from typing import Final, Literal

from memory.settings import When

SURPRISE_PERCENTILE: Final = 0.9
"""Surprising means among the highest tenth of recent surprises: about one cycle in ten is kept when nothing
drifts."""


def why_remember(
    when: When, *, percentile: float | None, reward: float | None, spoken: bool = False
) -> Literal["surprise", "reward", "always"] | None:
    """Why a cycle is remembered under the policy `when`, None when it is not.

    "surprise": its surprise has a `percentile` in [0, 1] of at least `SURPRISE_PERCENTILE`; None is no
    prediction, so no surprise. Nothing predicts what people say, so a cycle in which something was said to a person
    or by one (`spoken`) and no surprise was measured is remembered always. "reward": its `reward` is there and not
    0, good or bad; where every step is rewarded that is always."""
    if when == "always" or (when == "surprise" and percentile is None and spoken):
        return "always"
    if when == "surprise" and percentile is not None and percentile >= SURPRISE_PERCENTILE:
        return "surprise"
    if when == "reward" and reward:
        return "reward"
    return None

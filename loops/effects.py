"""What an effect is called, and how one is settled whose outcome nobody saw.

Knows the classes of effects; knows no environment. Invariant: the key of an effect is a function of
recorded content, so a second attempt carries the key of the first."""

from __future__ import annotations

import hashlib
from typing import Literal

from telemetry.events.values import Digest, EffectClass

Settlement = Literal["again", "unknown"]

SETTLE: dict[EffectClass, Settlement] = {
    "pure": "again",
    "read": "again",
    "keyed": "again",
    "replayable": "again",
    "probeable": "unknown",
    "compensable": "unknown",
    "unsafe": "unknown",
}
"""After a crash between intent and outcome: do it again under the same key, or say that it is unknown.

An environment that can probe or undo settles those classes itself; none does yet, so theirs is unknown."""


def effect_key(*, stream: str, cycle: int, proposal: int | None, ordinal: int, arguments: Digest) -> Digest:
    """SHA-256 over where the effect was decided and exactly what it is."""
    place = "\x1f".join(("aetherloop/effect", stream, str(cycle), str(proposal), str(ordinal), arguments))
    return hashlib.sha256(place.encode()).hexdigest()

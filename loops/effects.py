"""What an effect is called, and how one is settled whose outcome nobody saw.

Knows the classes of effects; knows no environment. Invariant: the key of an effect is a function of
recorded content, so a second attempt carries the key of the first."""

from __future__ import annotations

import hashlib
from typing import Literal

from loops.spaces import ActionSpace, ToolActions
from telemetry.events.values import Digest, EffectClass, ToolCall

Settlement = Literal["again", "probe", "undo", "unknown"]

SETTLE: dict[EffectClass, Settlement] = {
    "pure": "again",
    "read": "again",
    "keyed": "again",
    "replayable": "again",
    "probeable": "probe",
    "compensable": "undo",
    "unsafe": "unknown",
}
"""After a crash between intent and outcome: do it again under the same key, ask its target whether it happened, undo
it and do it anew, or say that it is unknown."""

FREE: frozenset[EffectClass] = frozenset(("pure", "read", "replayable"))
"""Classes of which a second attempt may run beside the first: they change nothing, or only a simulator that each
process has of its own."""


def effect_key(*, stream: str, cycle: int, proposal: int | None, ordinal: int, arguments: Digest) -> Digest:
    """SHA-256 over where the effect was decided and exactly what it is."""
    place = "\x1f".join(("aetherloop/effect", stream, str(cycle), str(proposal), str(ordinal), arguments))
    return hashlib.sha256(place.encode()).hexdigest()


def effect_class_of(call: ToolCall, space: ActionSpace) -> EffectClass:
    """The class its tool declares; `pure` for a call that cannot be made, because nothing comes of it."""
    tool = space.tool(call.tool) if isinstance(space, ToolActions) else None
    return "pure" if tool is None or call.invalid is not None else tool.effect_class

"""A tool of the courier that must be done within eight seconds; only its first call is held up."""

from __future__ import annotations

from loops.environments.tools import Check, EffectKey, tool
from loops.errors import ToolFailed
from tests import courier


def _rushed(what: str, key: EffectKey) -> str:
    if f"rush {what} {key}" in courier.arrived():
        return f"rush {what}: done"
    raise ToolFailed(f"{what} was not rushed", "not_done")


@tool(effect="probeable", probe=_rushed, timeout_s=8)
def rush(what: str, key: EffectKey, check: Check) -> str:
    """Deliver within eight seconds."""
    return courier.send("rush", what, key, check, held="rush" not in courier.waiting())

"""What a scenario says about memory: `[memory]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

When = Literal["surprise", "reward", "always", "never"]
"""Which cycles are remembered; see `memory.episode.why_remember`."""


class MemorySettings(BaseModel):
    """When to remember, and how much to recall."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: When = "surprise"
    """Which cycles are remembered: surprising ones (in a conversation those in which something was said), rewarded
    ones, all or none."""
    recall: Annotated[int, Field(ge=0, le=256)] = 4
    """Nearest episodes recalled at each observation; 0 recalls none."""

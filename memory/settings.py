"""What a scenario says about memory: `[memory]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

When = Literal["surprise", "reward", "always", "never"]
"""Which cycles are remembered; see `memory.episode.why_remember`."""


class MemorySettings(BaseModel):
    """`when` to remember, and how many episodes to `recall` at each observation (0: none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: When = "surprise"
    recall: Annotated[int, Field(ge=0, le=256)] = 4

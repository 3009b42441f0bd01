"""What was done to the log itself, on the stream `system`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from telemetry.events.event import Event
from telemetry.events.values import Digest


class Pruned(Event):
    """Events of a stream were removed after an archive of them was read back and verified. What stands of the stream
    goes on from `hash`, its anchor."""

    CRITICAL: ClassVar[bool] = True

    type: Literal["system.pruned"] = "system.pruned"
    stream: str
    first: int = Field(ge=1)
    """The lowest version that was removed."""
    version: int = Field(ge=1)
    """The highest."""
    hash: Digest
    """The chain at it."""
    epoch: int
    """Its writer's, which fences lower ones also when nothing of the stream is left."""
    log: str
    """Id of the log whose positions have gaps since, as many as there were events."""
    archive: str
    """Name of the archive's file, which holds the stream whole."""
    digest: Digest
    """SHA-256 of that file."""


class Restored(Event):
    """Events that had been removed were put back where they were, from an archive."""

    CRITICAL: ClassVar[bool] = True

    type: Literal["system.restored"] = "system.restored"
    stream: str
    first: int = Field(ge=1)
    """The lowest version that was put back."""
    version: int = Field(ge=1)
    """The highest."""
    hash: Digest
    """The chain before `first`: where the stream goes on from now."""
    epoch: int
    """Of the event before `first`; 0 where there is none."""
    whole: bool
    """Whether nothing of the stream is missing now."""
    log: str
    archive: str

"""What people allow to be kept of them, and what was destroyed at their word."""

from __future__ import annotations

from typing import ClassVar, Literal

from telemetry.events.event import Event


class ConsentGranted(Event):
    """A subject allowed these uses of their data."""

    type: Literal["privacy.consent_granted"] = "privacy.consent_granted"
    subject: str
    purposes: tuple[str, ...]


class ConsentWithdrawn(Event):
    """A subject took back what they had allowed."""

    CRITICAL: ClassVar[bool] = True

    type: Literal["privacy.consent_withdrawn"] = "privacy.consent_withdrawn"
    subject: str
    purposes: tuple[str, ...]


class SubjectErased(Event):
    """The subject's keys were destroyed; their payloads stay on the log and can no longer be read."""

    CRITICAL: ClassVar[bool] = True

    type: Literal["privacy.subject_erased"] = "privacy.subject_erased"
    subject: str
    keys: tuple[str, ...]

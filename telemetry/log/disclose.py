"""Putting payloads where they belong that were withheld when their events came: one transaction.

Knows rows; whether a payload is the event's, its digest says. Invariant: of an event that stands with its payload
nothing is changed, and of a withheld one nothing that the chain covers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.errors import InvalidEvent, LogError
from telemetry.events.envelope import WITHHELD, Recorded
from telemetry.log.retention.prune import Tables
from telemetry.log.rows import SELECT, recorded

PUT = f"""UPDATE events SET encoding = ?, payload = ?
WHERE stream = ? AND version = ? AND hash = ? AND digest = ? AND encoding = '{WITHHELD}'"""


@dataclass(slots=True)
class Disclose:
    """An order to put the payloads of `events` into the log. Raises `InvalidEvent` for one that is not its event's."""

    events: Sequence[Recorded]
    done: int = 0
    """How many of them were withheld."""

    def __post_init__(self) -> None:
        for event in self.events:
            if event.withheld or hashlib.sha256(event.payload).digest() != event.digest:
                raise InvalidEvent(f"the payload of event {event.id} is not here, or was altered")

    def __call__(self, tables: Tables) -> Recorded | LogError:
        """Answers with the log's last event, which stands as before."""
        for event in self.events:
            where = (event.stream, event.version, event.hash, event.digest)
            self.done += tables.run(PUT, (event.encoding, event.payload, *where))
        last = tables.rows(f"{SELECT} ORDER BY position DESC LIMIT 1", ())
        return recorded(last[0]) if last else LogError("the log has no events; nothing was changed.")

"""A session's life and the frame of each cycle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from telemetry.events.event import Event
from telemetry.events.values import Digest, Playbook, Usage


class Opened(Event):
    """A session began. Everything that its behaviour depends on is pinned here."""

    type: Literal["session.opened"] = "session.opened"
    scenario: str
    """The scenario's name."""
    scenario_text: str
    """The scenario file as it was read."""
    scenario_digest: Digest
    seed: int = Field(ge=0)
    cycles: int | None = None
    """The most cycles it may run; None leaves it to its episodes."""
    environment: str
    spaces: dict[str, JsonValue]
    """The environment's observation and action spaces, as its adapter describes them."""
    versions: dict[str, str]
    """Version of our code, of Python and of each library that can change behaviour."""
    person: str | None = None
    """Whom the session serves, by the name its tools know."""
    playbook: Playbook | None = None
    """The version that shapes this session's reasoning."""
    purpose: Literal["evaluation"] | None = None
    """What the session is for; an evaluation is nothing to learn from."""


class Resumed(Event):
    """An owner took the session up again: its state was folded up to `verified_to`, and its chain verified on the way,
    from its beginning or from the snapshot that was used."""

    type: Literal["session.resumed"] = "session.resumed"
    after: Literal["suspended", "interrupted"]
    owner: str
    verified_to: int


class Suspended(Event):
    """The session rests at a closed cycle and can be resumed."""

    type: Literal["session.suspended"] = "session.suspended"
    reason: str
    cycles: int
    state_hash: Digest


class Forked(Event):
    """The session begins as the first events of another one, which it shares by pointer."""

    type: Literal["session.forked"] = "session.forked"
    parent: str
    at_version: int
    at_hash: Digest


class Closed(Event):
    """The session ended for good."""

    type: Literal["session.closed"] = "session.closed"
    reason: Literal["done", "cycles", "failed", "refused"]
    """done: its episodes are over; cycles: its budget is; failed: see `error`; refused: nothing was allowed."""
    error: str | None = None
    cycles: int
    state_hash: Digest


class CycleOpened(Event):
    """A cycle began."""

    type: Literal["session.cycle_opened"] = "session.cycle_opened"
    cycle: int = Field(ge=1)


class CycleClosed(Event):
    """A cycle is whole. `state_hash` is of the state after this event, under reducer `reducer`."""

    type: Literal["session.cycle_closed"] = "session.cycle_closed"
    cycle: int = Field(ge=1)
    state_hash: Digest
    reducer: int
    usage: Usage = Usage()

"""From a session's recorded events to where it stands, in one pass.

Knows folding and its checks; knows no store, and no phase. Invariant: `rebuild(a + b)` is `rebuild(b)` from
`rebuild(a)`, and gives what a journal that recorded a and b has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from loops.scene import Scene, SceneFold
from loops.state import REDUCER, SessionState, apply_to, state_hash
from telemetry.errors import LogDamaged
from telemetry.events import execute, session
from telemetry.events.envelope import unreadable
from telemetry.events.registry import decode
from telemetry.log.facts import Fact

ENVELOPE_BYTES = 250
"""What an event takes in a log beside its payload, about, when the bytes since a snapshot are counted."""


class Standing(NamedTuple):
    """Where a session stands after the event `version`: all that it goes on from."""

    state: SessionState = SessionState()
    scene: Scene = Scene()
    version: int = 0
    epoch: int = 1
    """Of the owner that wrote last."""
    last_type: str = ""
    """Type of the latest event that was not given to a session that rests, and rests on."""
    positions: dict[str, int] = {}
    """Position of the latest event of each type. Never changed in place."""
    done: frozenset[str] = frozenset()
    """Commands recorded since the latest cycle opened."""
    size_bytes: int = 0
    """Of the events that were folded to come here."""


BEGINNING = Standing()
RESTING = frozenset({execute.ApprovalGiven, execute.Reconciled})


def rebuild(facts: Iterable[Fact], start: Standing = BEGINNING) -> Standing:
    """Where the session stands after `facts`. Raises `LogDamaged` where a recorded state hash does not come out, and
    `InvalidEvent` where an event cannot be read."""
    state, scene = start.state.model_copy(), SceneFold(start.scene)
    _, _, version, epoch, last_type, _, _, size_bytes = start
    positions, done = {**start.positions}, {*start.done}
    for position, stream, version, type_, schema, command, epoch, encoding, body in facts:  # noqa: B007  go on after it
        event_id = f"{stream}@{version}"
        if body is None:
            raise unreadable(event_id, encoding)
        event = decode(type_, schema, body)
        kind = type(event)
        apply_to(state, event)
        scene.see(event_id, event)
        positions[type_] = position
        size_bytes += len(body) + ENVELOPE_BYTES
        if kind not in RESTING:
            last_type = type_
        if kind is session.CycleOpened:
            done.clear()
        done.add(command)
        if type(event) is session.CycleClosed:  # not `isinstance`, which pydantic's models answer slowly
            _check(event_id, state, event)
    return Standing(state, scene.scene, version, epoch, last_type, positions, frozenset(done), size_bytes)


def _check(event_id: str, state: SessionState, event: session.CycleClosed) -> None:
    if event.reducer != REDUCER or (found := state_hash(state)) == event.state_hash:
        return
    stream, _, _ = event_id.rpartition("@")
    raise LogDamaged(
        f"{event_id}: folding gives state {found[:12]}…, the log says {event.state_hash[:12]}…. "
        f"Nothing was written. Try: aether replay {stream.removeprefix('session/')}"
    )

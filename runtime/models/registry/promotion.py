"""What a registry's name means, moved after the log has said so.

Knows pointers and the order of promotions; judges nothing and enters nothing. Invariant: the pointer says what a log
said, and of two who move it at once on one machine the later word stays."""

from __future__ import annotations

from runtime.models.registry.pointers import read_in, succession_in, write_in
from runtime.models.registry.store import Registry, writing
from runtime.models.registry.succession import Succession, succession
from telemetry.events.values import ModelId
from telemetry.log import EventLog


def promoted(registry: Registry, name: str) -> ModelId | None:
    """What was promoted last, a model or what a scenario does by itself; None where nothing ever was. Raises
    `VerificationFailed` where it cannot be read."""
    return succession_in(registry.place(), name).standing


def follow(registry: Registry, name: str, log: EventLog) -> bool:
    """Makes the pointer say what `log` says of `name` by now, if it says anything; returns whether it said something
    else. Raises `Unavailable` where it cannot be written; what it said stays then."""
    place = registry.place()
    with writing(f"what stands of {name} cannot be written in {place.shown}"), place.locked(name):
        said = succession(log, name)
        moves = bool(said.ids) and (read_in(place, name) or Succession()).ids != said.ids
        if moves:
            write_in(place, name, said)
    return moves

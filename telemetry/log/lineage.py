"""A fork's lineage: whose events stand before its own, and up to where.

Knows pointers; knows no store. Invariant: a lineage names no stream twice, and its versions never rise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

FORKED = "session.forked"
"""Type of the event that a fork's own begin with."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fork was cut from its parent: the versions up to `at_version` are the parent's. `at_hash` is the hash
    of that event, in hex."""

    parent: str
    at_version: int
    at_hash: str


OriginOf: TypeAlias = Callable[[str], Origin | None]
"""`EventLog.origin`, or what stands for it inside a store."""


def lineage(origin_of: OriginOf, stream: str, *, to: int) -> tuple[tuple[str, int], ...]:
    """What stands on `stream` up to version `to`: (stream, version) of itself and of each ancestor, nearest first;
    of each, its own events up to that version."""
    found = {stream: to}
    while (cut := origin_of(stream)) is not None and cut.parent not in found:
        stream, to = cut.parent, min(to, cut.at_version)
        found[stream] = to
    return tuple(found.items())


def owner(origin_of: OriginOf, stream: str, version: int) -> str:
    """Whose own event stands on `stream` at `version`, if there is one: its, or the ancestor's it is shared with."""
    return next(name for name, to in reversed(lineage(origin_of, stream, to=version)) if to == version)

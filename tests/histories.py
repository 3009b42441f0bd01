"""Events of streams in memory, as what reads them back from a log sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator

from telemetry.events import Event, Recorded, encode, session
from telemetry.events.event import phase_of
from telemetry.log.lineage import FORKED, Origin


class Held:
    """A `History` of these events, in order of position."""

    def __init__(self, events: Iterable[Recorded]) -> None:
        self._streams: dict[str, list[Recorded]] = {}
        for event in events:
            self._streams.setdefault(event.stream, []).append(event)

    def read(
        self, stream: str, *, after: int = 0, to: int | None = None, types: Collection[str] = ()
    ) -> Iterator[Recorded]:
        for event in self._all(stream):
            if after < event.version and (to is None or event.version <= to) and (not types or event.type in types):
                yield event

    def read_back(self, stream: str, *, before: int | None = None, types: Collection[str] = ()) -> Iterator[Recorded]:
        to = None if before is None else before - 1
        return reversed(list(self.read(stream, to=to, types=types)))

    def origin(self, stream: str) -> Origin | None:
        event = next(iter(self._streams.get(stream, ())), None)
        if event is None or event.type != FORKED:
            return None
        cut = event.event
        assert isinstance(cut, session.Forked)
        return Origin(cut.parent, cut.at_version, cut.at_hash)

    def _all(self, stream: str) -> list[Recorded]:
        own = self._streams.get(stream, [])
        cut = self.origin(stream)
        if cut is None:
            return own
        return [event for event in self._all(cut.parent) if event.version <= cut.at_version] + own


def recorded(
    stream: str,
    version: int,
    event: Event,
    *,
    cycle: int,
    at: int,
    elapsed_ns: int = 0,
    command: str,
    cause: str = "",
    refs: str = "[]",
) -> Recorded:
    """The event as a log would give it back, but for the chain."""
    payload = encode(event)
    return Recorded(
        position=version,
        stream=stream,
        version=version,
        type=event.type,
        schema=event.SCHEMA,
        command=command,
        ordinal=0,
        at=at,
        elapsed_ns=elapsed_ns,
        epoch=1,
        cycle=cycle,
        phase=phase_of(event.type),
        cause=cause,
        refs=refs,
        mode="execution",
        encoding="plain",
        keys="[]",
        payload=payload,
        digest=hashlib.sha256(payload).digest(),
        hash=bytes(32),
    )

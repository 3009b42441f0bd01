"""The projection: a thread that follows the log and keeps the index equal to what was remembered.

Knows the log and the index; knows nothing of sessions or of when to remember. Words stay in the log alone and are
looked up there. Invariant: the cursor on disk is never ahead of the index on disk, and applying an event twice
changes nothing, so any kill is made good by reading on."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from memory.edge import EdgeIndex, Lineage, MemoryPoint
from memory.embed import TextEmbedder
from memory.errors import IndexDamaged, MemoryFault, ProjectionFailed, RecallLate
from telemetry.errors import LogClosed
from telemetry.events.envelope import Recorded, split_id
from telemetry.events.learn import Forgotten, Remembered
from telemetry.events.values import EventId, Hit, ModelId
from telemetry.files import replace_file
from telemetry.log import EventLog, Subscription
from telemetry.log.lineage import lineage

FOLLOWED: Final = ("learn.remembered", "learn.forgotten")

IDLE_S: Final = 1.0
"""Without news for so long, the cursor is saved."""

SAVE_EVERY: Final = 4096
"""Positions after which the cursor is saved under load: a flush takes 7–30 ms (1–50,000 points, measured), so
below a tenth of a thread at 10,000 events a second, and a kill repeats at most so many."""

STOP_TIMEOUT_S: Final = 30.0
"""How long `close` waits for the batch at hand; one takes well below a second."""


class _Cursor(BaseModel):
    """How far the index has followed which log, how many points each shard held then, and what was forgotten."""

    model_config = ConfigDict(extra="forbid")

    log: str
    position: int
    points: dict[str, int]
    withheld: int = 0
    """Events whose payloads were not in the log. The sessions that they are of cannot be taken up, so nobody recalls
    them; should their payloads come, the index is made anew."""
    forgotten: dict[EventId, tuple[EventId, ...]]
    """Episodes and the events by which they were forgotten: the point stays, for those who recall as of before."""


class EpisodeProjection:
    """The index in `folder`, following `log` in a thread of its own from construction to `close`.

    It goes on from its saved cursor. Where that is missing, unreadable, of another log, ahead of this one, vouches for
    points that are not there, or is of before payloads came that were withheld, the index is thrown away and rebuilt
    from the first event. When the thread fails, every later call raises `ProjectionFailed` with the cause."""

    def __init__(self, log: EventLog, *, folder: Path) -> None:
        """Raises `IndexHeld` when another process has the folder."""
        self._log = log
        self._forgotten: dict[EventId, tuple[EventId, ...]] = {}
        self._withheld = 0
        self._cursor_path = folder / "cursor.json"
        self._index = EdgeIndex(folder)
        try:
            self._position = self._resume(head=log.position())
            self._saved = self._position
            self._subscription: Subscription = log.subscribe(after=self._position, types=FOLLOWED)
        except BaseException:
            self._index.close()
            raise
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._follow, name="memory-projection", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """Position of the log up to which everything remembered can be recalled."""
        with self._changed:
            return self._position

    def wait(self, position: int, *, timeout_s: float) -> None:
        """Returns when everything up to `position` can be recalled. Raises `RecallLate`,
        `ProjectionFailed`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._position >= position or self._failure is not None or self._closing, timeout_s
            )
            self._raise_failure()
            if self._closing:
                raise ProjectionFailed("the memory projection was closed; what was remembered is safe in the log")
            if self._position < position:
                raise RecallLate(
                    f"memory is at position {self._position} of the log after {timeout_s:g} s, "
                    f"{position} was asked for. Nothing is lost; it is catching up, so ask again"
                )

    def lineage(self, stream: str, version: int) -> Lineage:
        """What `stream` may remember as of `version`: its own events and, of a fork, what it shares with its
        ancestors, but never what they went on to do."""
        return lineage(self._log.origin, stream, to=version)

    def recall(
        self,
        vector: NDArray[np.float32],
        *,
        embedder: ModelId,
        k: int,
        lineage: Lineage,
        position: int,
        timeout_s: float,
    ) -> tuple[Hit, ...]:
        """The `k` nearest episodes of the lineage, once everything up to `position` is in the index.

        `position` is that of the newest event the lineage may remember; later ones are kept out by `lineage`,
        so the answer is the same whenever it is asked. An episode is left out from the version on at which the
        lineage forgot it; who recalls as of an earlier one, or from a branch that did not forget it, still finds
        it. Episodes of words come with their words. Blocks: call it from one thread kept for it."""
        self.wait(position, timeout_s=timeout_s)
        forgotten = self._forgotten_by(lineage)
        hits = self._index.nearest(vector, embedder=embedder, k=k + len(forgotten), lineage=lineage)
        kept = tuple(hit for hit in hits if hit.event not in forgotten)[:k]
        return tuple(map(self._in_words, kept)) if embedder == TextEmbedder.embedder else kept

    def close(self) -> None:
        """Stops following, saves the cursor and lets the folder go. May be called twice.

        Raises `ProjectionFailed` when the thread had failed, unless only because the log was closed first."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._subscription.close()
        self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise ProjectionFailed(f"the memory projection did not stop in {STOP_TIMEOUT_S:g} s; its folder stays held")
        try:
            if self._failure is None or isinstance(self._failure, LogClosed):
                self._save()
        finally:
            self._index.close()
        if not isinstance(self._failure, LogClosed):
            self._raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise ProjectionFailed(
                f"memory stopped following the log at position {self._position}: {self._failure}. "
                f"What was remembered is safe in the log; start the host again"
            ) from self._failure

    def _forgotten_by(self, lineage: Lineage) -> frozenset[EventId]:
        """What the events of the lineage have forgotten."""
        if not self._forgotten:
            return frozenset()
        ends = dict(lineage)
        with self._changed:
            return frozenset(
                memory
                for memory, events in self._forgotten.items()
                if any(version <= ends.get(stream, 0) for stream, version in map(split_id, events))
            )

    def _in_words(self, hit: Hit) -> Hit:
        stream, version = split_id(hit.event)
        (recorded,) = self._log.read(stream, after=version - 1, to=version)
        event = recorded.event
        return hit.model_copy(update={"text": event.episode.text}) if isinstance(event, Remembered) else hit

    def _take(self, events: Sequence[Recorded]) -> None:
        """Adds what was remembered to the index, and notes what was forgotten."""
        points: list[MemoryPoint] = []
        for recorded in events:
            if recorded.withheld:
                self._withheld += 1
                continue
            match recorded.event:
                case Remembered() as remembered:
                    points.append(_point(recorded, remembered))
                case Forgotten(memory=memory):
                    before = self._forgotten.get(memory, ())
                    with self._changed:
                        self._forgotten[memory] = tuple(dict.fromkeys((*before, recorded.id)))
                case _:
                    raise _unreadable(recorded)
        self._index.upsert(points)

    def _follow(self) -> None:
        try:
            while not self._closing:
                batch = self._subscription.next(timeout_s=IDLE_S)
                if batch.events:
                    self._take(batch.events)
                idle = batch.position == self._position
                with self._changed:
                    self._position = batch.position
                    self._changed.notify_all()
                if self._position - self._saved >= (1 if idle else SAVE_EVERY):
                    self._save()
        except BaseException as error:  # noqa: BLE001  kept, and raised to whoever waits or closes
            with self._changed:
                if not (self._closing and isinstance(error, LogClosed)):
                    self._failure = error
                self._changed.notify_all()

    def _resume(self, *, head: int) -> int:
        """The position to go on from; 0 with an emptied index when the saved cursor cannot be trusted."""
        try:
            cursor = _Cursor.model_validate_json(self._cursor_path.read_bytes())
            of_log = cursor.log == self._log.id and cursor.position <= head and self._still_withheld(cursor)
            if of_log and _holds(self._index.counts(), cursor.points):
                self._forgotten, self._withheld = dict(cursor.forgotten), cursor.withheld
                return cursor.position
        except (OSError, ValidationError, IndexDamaged):
            pass  # all three mean that the cursor vouches for nothing
        self._cursor_path.unlink(missing_ok=True)
        self._index.clear()
        return 0

    def _still_withheld(self, cursor: _Cursor) -> bool:
        """Whether the payloads that the index lacks have not come since."""
        if not cursor.withheld:
            return True
        passed = self._log.read_all(to=cursor.position, types=FOLLOWED)
        return sum(recorded.withheld for recorded in passed) == cursor.withheld

    def _save(self) -> None:
        """Flushes the index, then replaces the cursor."""
        position = self._position
        self._index.flush()
        cursor = _Cursor(
            log=self._log.id,
            position=position,
            points=dict(self._index.counts()),
            withheld=self._withheld,
            forgotten=self._forgotten,
        )
        replace_file(self._cursor_path, cursor.model_dump_json().encode())
        self._saved = position


def _holds(counts: Mapping[ModelId, int], saved: Mapping[ModelId, int]) -> bool:
    """Whether every shard has at least the points it had; a kill may leave more than the cursor knows, never
    fewer."""
    return all(counts.get(embedder, 0) >= points for embedder, points in saved.items())


def _point(recorded: Recorded, event: Remembered) -> MemoryPoint:
    return MemoryPoint(
        stream=recorded.stream,
        version=recorded.version,
        position=recorded.position,
        embedder=event.embedder,
        vector=event.vector.numpy(),
    )


def _unreadable(recorded: Recorded) -> MemoryFault:
    return MemoryFault(
        f"event {recorded.id} is a {recorded.type} of schema {recorded.schema}, which this version "
        f"cannot read. Use the version that wrote it, or a newer one"
    )

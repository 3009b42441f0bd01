"""Follows the log and keeps its rows in Parquet.

Knows when rows are put on disk; `files` knows how, `manifest` what is there. Invariant: rows and cursor are one
manifest, so a writer that is killed anywhere loses nothing and doubles nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa

from telemetry.errors import LogClosed, TracesRefused
from telemetry.events.envelope import Recorded
from telemetry.log import EventLog, Subscription
from telemetry.query.rows.fold import Fold
from telemetry.query.rows.kinds import VERSION
from telemetry.query.rows.tables import table
from telemetry.query.traces.compact import committed, expire, many_alike, replace
from telemetry.query.traces.files import BUCKETS, Buckets, Keys, encoded, partitioned
from telemetry.query.traces.manifest import Manifest, read
from telemetry.query.traces.place import Place, place_of

INTERVAL_S: Final = 30.0
"""How long events wait for others to share a file with, where few come. Queries read them from the log until then."""

LAY_EVENTS: Final = 8_192
LAY_BYTES: Final = 32 * 1024 * 1024
"""After so many events, or bytes of them, rows become tables: those take a fifth of the memory."""

COMMIT_EVENTS: Final = 262_144
COMMIT_BYTES: Final = 128 * 1024 * 1024
"""What is held in memory at most, in events or as tables."""


class Traces:
    """The rows of `log` in the folder or fsspec URL `url`, for one writer and one log for their life. A context:
    leaving it without an error puts on disk what it has seen."""

    def __init__(
        self, log: EventLog, url: str | Path, *, buckets: int = BUCKETS, interval_s: float = INTERVAL_S
    ) -> None:
        """`buckets` counts where nothing is yet. Raises `TracesUnwritable` for a scheme that nothing here reaches."""
        self._log = log
        self._place = place_of(url)
        self._interval_s = interval_s
        self._manifest = Manifest(log=log.id, rows=VERSION, buckets=buckets)
        self._open = ExitStack()
        self._stopped = False
        self._subscription: Subscription | None = None

    @property
    def position(self) -> int:
        """Up to where the rows of all events are on disk."""
        return self._manifest.position

    @property
    def seen(self) -> int:
        """Up to where events were taken: on disk with the next commit, at the latest as it is left."""
        return self._seen

    @property
    def place(self) -> Place:
        return self._place

    def __enter__(self) -> Self:
        """Raises `TracesHeld` when another process writes there, `TracesRefused` when what lies there does not go on in
        this log, `TracesDamaged`, `TracesUnwritable`."""
        with ExitStack() as held:
            held.enter_context(self._place.held())
            found = read(self._place)
            if found is not None:
                self._check(found)
                self._manifest = found
            self._buckets = Buckets(self._manifest.buckets)
            self._subscription = self._log.subscribe(after=self.position)
            self._fold = Fold(self._log)
            self._seen = self.position
            self._unlaid = self._unlaid_bytes = 0
            self._whole = True
            self._forget()
            self._open = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if error is None:
                self.commit()

    def step(self, *, wait_s: float) -> bool:
        """Takes the next events, or waits up to `wait_s` for some, and commits when it is time. Whether there may be
        more at once. Raises `InvalidEvent` for a damaged one, `TracesHeld`, `TracesUnwritable`, and is to be entered
        anew then."""
        assert self._subscription is not None, "a context is entered first"
        if self._stopped:
            return False
        try:
            batch = self._subscription.next(timeout_s=min(wait_s, self._due_s()))
        except LogClosed:
            return False
        if batch.events:
            self._take(batch.events)
        self._seen = batch.position
        if self._waiting >= COMMIT_EVENTS or self._laid_bytes >= COMMIT_BYTES or self._due_s() <= 0:
            self.commit()
        return bool(batch.events)

    def drain(self, *, to: int) -> None:
        """Puts the rows of everything up to position `to` on disk."""
        while self._seen < to and not self._stopped:
            self.step(wait_s=0)
        self.commit()

    def stop(self) -> None:
        """From any thread, and twice: what waits in `step` returns, and nothing more is taken."""
        self._stopped = True
        if self._subscription is not None:
            self._subscription.close()

    def commit(self) -> None:
        """Puts everything that it has seen on disk; nothing once something failed or was interrupted half-way,
        which is then done anew by the next to enter."""
        if not self._whole or (self._seen == self.position and self._manifest.number):
            return
        self._lay()
        written = []
        for kind, tables in self._laid.items():
            whole, keys = pa.concat_tables(tables), np.concatenate(self._keys[kind])
            for key, rows in partitioned(whole, keys):
                file, content = encoded(self._buckets.partition(kind, key), rows)
                self._place.write([(file.path, content)])
                written.append(file)
        files = (*self._manifest.files, *written)
        self._whole = False
        self._manifest = committed(
            self._place, self._manifest, files=files, position=self._seen, hash_=_hash_at(self._log, self._seen)
        )
        self._forget()
        self._whole = True
        self._manifest = replace(self._place, self._manifest, list(many_alike(self._manifest)))
        self._manifest, _ = expire(self._place, self._manifest)

    def _take(self, events: Sequence[Recorded]) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._whole = False
        self._fold.add(events)
        self._whole = True
        self._waiting += len(events)
        self._unlaid += len(events)
        self._unlaid_bytes += sum(len(event.content or event.payload) for event in events)
        if self._unlaid >= LAY_EVENTS or self._unlaid_bytes >= LAY_BYTES:
            self._lay()

    def _lay(self) -> None:
        whole, self._whole = self._whole, False
        for kind, rows in self._fold.take().items():
            if rows:
                laid = table(kind, rows)
                self._laid_bytes += laid.nbytes
                self._laid.setdefault(kind, []).append(laid)
                self._keys.setdefault(kind, []).append(self._buckets.keys(rows))
        self._unlaid = self._unlaid_bytes = 0
        self._whole = whole

    def _forget(self) -> None:
        self._laid: dict[str, list[pa.Table]] = {}
        self._keys: dict[str, list[Keys]] = {}
        self._laid_bytes = 0
        self._waiting = 0
        self._since = time.monotonic()

    def _due_s(self) -> float:
        """How long what waits can wait yet."""
        return self._since + self._interval_s - time.monotonic() if self._waiting else self._interval_s

    def _check(self, found: Manifest) -> None:
        head, place = self._log.position(), self._place.name
        if found.rows != VERSION:
            raise TracesRefused(
                f"the traces in {place} are of version {found.rows} and this one writes {VERSION}. {_AFRESH}"
            )
        if found.log != self._log.id:
            raise TracesRefused(f"the traces in {place} are of another log ({found.log}). {_AFRESH}")
        hash_ = _hash_at(self._log, found.position)
        if found.position > head or (hash_ and found.hash != hash_):
            raise TracesRefused(
                f"the traces in {place} are of position {found.position} of another history: this log ends at {head}, "
                f"or has another event there. {_AFRESH}"
            )


_AFRESH: Final = "Both are intact. Name another folder, or remove that one's content to make it anew"


def _hash_at(log: EventLog, position: int) -> str:
    """Hash of the event at `position`, in hex; empty where there is none, as where it was archived and removed."""
    return next((event.hash.hex() for event in log.read_all(after=position - 1, to=position)), "")

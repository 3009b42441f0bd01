"""Reading on as the log grows. A commit's notice is a hint; what is read from disk is the truth.

Invariant: batches cover every position above `after` once, in order."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator

from telemetry.errors import LogClosed
from telemetry.log.store import Batch

POLL_S = 0.05
"""How long a subscriber trusts silence before it looks at the disk: what another process commits gives no notice."""


class Notice:
    """Wakes those who wait for the next commit."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._committed = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def committed(self, position: int) -> None:
        with self._changed:
            self._committed = position
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, timeout_s: float, *, beyond: int) -> None:
        """Until something was committed beyond that position, or `timeout_s` passed, or somebody woke us."""
        with self._changed:
            if self._committed <= beyond and not self._closed:
                self._changed.wait(timeout_s)


class DiskSubscription:
    """A `Subscription` over `read_batch(after)`, which reads what is on disk and never waits. `followed` hears that
    somebody is about to wait, and says how long silence is to be trusted."""

    def __init__(
        self,
        after: int,
        read_batch: Callable[[int], Batch],
        notice: Notice,
        *,
        followed: Callable[[], float] = lambda: POLL_S,
    ) -> None:
        self._position = after
        self._read_batch = read_batch
        self._notice = notice
        self._followed = followed
        self._closed = False

    @property
    def position(self) -> int:
        return self._position

    def next(self, timeout_s: float | None = None) -> Batch:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if self._closed or self._notice.closed:
                raise LogClosed(f"the subscription was closed at position {self._position}; a new one can go on there.")
            batch = self._read_batch(self._position)
            if batch.position > self._position:
                self._position = batch.position
                return batch
            left_s = math.inf if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                return batch
            self._notice.wait(min(self._followed(), left_s), beyond=self._position)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            try:
                batch = self.next()
            except LogClosed:
                return
            yield batch

    def close(self) -> None:
        self._closed = True
        self._notice.wake()

"""What follows a log beside its sessions: exporters, and what else `makers` names, each on a thread of its own.

Knows followers and how they begin anew; knows no Ray. Invariant: one that fails or waits keeps no other from its work,
and none keeps the process from its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from typing import Final, NamedTuple

from runtime.errors import EXPECTED
from runtime.exporting import Target, content, exporting, targets
from runtime.settings import Settings
from runtime.traces import named_place, parquet_follower, traces_url
from telemetry.errors import CursorHeld, TracesHeld
from telemetry.log import EventLog, open_log
from telemetry.otel.export.follower import Follower, Lag
from telemetry.otel.export.patience import Patience, Stopped

logger = logging.getLogger(__name__)

IDLE_S: Final = 0.25
"""How long a step waits for news, at most."""
LAST_S: Final = 30.0
"""How long the end waits for followers that get on."""
TROUBLED_S: Final = 3.0
"""And for one that does not."""
JOIN_S: Final = 5.0
POLL_S: Final = 0.02

NOT_BEGUN: Final = "it has not begun"

Said = Callable[[str], None]


class Maker(NamedTuple):
    """How a follower begins; it is told where to say what troubles it, and '' once nothing does."""

    name: str
    make: Callable[[EventLog, Said], AbstractContextManager[Follower]]


def makers(settings: Settings) -> list[Maker]:
    """Of everything that the settings want beside the sessions. Raises `UsageError` for what cannot be meant."""

    def exporter(target: Target) -> Maker:
        return Maker(target.name, lambda log, said: exporting(log, target, settings, troubled=said))

    def keeper(log: EventLog, _: Said) -> AbstractContextManager[Follower]:
        return parquet_follower(log, traces_url(log, settings))

    content(settings.telemetry)
    named_place(settings.telemetry.parquet)
    keepers = [] if settings.telemetry.parquet is None else [Maker("traces", keeper)]
    return [*(exporter(target) for target in targets(settings.telemetry)), *keepers]


class Following:
    """Begins at once. `close` ends it."""

    def __init__(self, url: str, made_by: Sequence[Maker]) -> None:
        self._stop = threading.Event()
        self._loops = [_Loop(url, maker, self._stop) for maker in made_by]
        for loop in self._loops:
            loop.start()

    def lags(self) -> list[tuple[str, Lag]]:
        """How far behind each is; `why` says what troubles it."""
        return [(loop.maker.name, loop.lag()) for loop in self._loops]

    def finish(self) -> list[tuple[str, Lag]]:
        """Lets each get to the log's end, if it gets on at all, then closes. Returns how far behind they were left."""
        began = time.monotonic()
        while True:
            lags = self.lags()
            waited_s = time.monotonic() - began
            left = [loop for loop, (_, lag) in zip(self._loops, lags, strict=True) if lag.events or lag.why]
            if not left or waited_s > LAST_S or (waited_s > TROUBLED_S and all(loop.troubled for loop in left)):
                break
            time.sleep(POLL_S)
        self.close()
        return lags

    def close(self) -> None:
        """Whatever is under way stays undone, and its follower begins there next time. May be called twice."""
        self._stop.set()
        for loop in self._loops:
            loop.end()


class _Loop(threading.Thread):
    """One follower, made anew when it failed."""

    def __init__(self, url: str, maker: Maker, stop: threading.Event) -> None:
        super().__init__(name=f"follow {maker.name}", daemon=True)
        self.maker = maker
        self._url = url
        self._stopping = stop
        self._follower: Follower | None = None
        self._why = NOT_BEGUN
        self._lock = threading.Lock()

    def run(self) -> None:
        patience = Patience(self._stopping.wait, total_s=None)
        while not self._stopping.is_set():
            try:
                self._follow(patience)
            except (CursorHeld, TracesHeld):
                self._tell("")  # another process, such as another run's, does what this one would
            except EXPECTED as error:
                self._tell(str(error))
            except Exception as error:
                logger.exception("%s failed", self.maker.name)
                self._tell(f"{type(error).__name__}: {error}")
            try:
                patience.wait(patience.next_s(None))
            except Stopped:
                return

    def _follow(self, patience: Patience) -> None:
        with closing(open_log(self._url, mode="read")) as log, self.maker.make(log, self._tell) as follower:
            with self._lock:
                self._follower, self._why = follower, ""
            try:
                while not self._stopping.is_set():
                    follower.step(wait_s=IDLE_S)
                    patience.succeeded()
            finally:
                with self._lock:
                    self._follower = None

    def _tell(self, why: str) -> None:
        with self._lock:
            self._why = why

    @property
    def troubled(self) -> bool:
        """Whether something keeps it from its work."""
        return self._why not in ("", NOT_BEGUN)

    def lag(self) -> Lag:
        with self._lock:
            if self._follower is None:
                return Lag(0, 0.0, self._why)
            return self._follower.lag()

    def end(self) -> None:
        with self._lock:
            if self._follower is not None:
                self._follower.stop()
        self.join(JOIN_S)

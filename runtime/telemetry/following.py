"""What follows a log beside its sessions: exporters, and what else `makers` names, each on a thread of its own.

Knows followers and how they begin anew; knows no Ray. Invariant: one that fails or waits keeps no other from its work,
and none keeps the process from its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from runtime.errors import EXPECTED
from runtime.settings import Settings
from runtime.telemetry.exporting import Target, content, exporting, targets
from runtime.telemetry.metrics import MetricsFollower, kept
from runtime.telemetry.traces import named_place, parquet_follower, traces_url
from telemetry.errors import CursorHeld, TracesHeld
from telemetry.log import EventLog, open_log
from telemetry.log.latency import Latencies
from telemetry.otel.export.account import Accounted
from telemetry.otel.export.exporter import Exporter
from telemetry.otel.export.follower import Follower, Lag
from telemetry.otel.export.patience import Patience, Stopped
from telemetry.otel.measures.standing import Standing
from telemetry.otel.metrics import wanted

logger = logging.getLogger(__name__)

IDLE_S: Final = 0.25
"""How long a step waits for news, at most."""
LAST_S: Final = 30.0
"""How long the end waits for followers that get on, and for what they put down last."""
TROUBLED_S: Final = 3.0
"""And for one that does not."""
JOIN_S: Final = 5.0
"""How long one may take to end in any case."""
POLL_S: Final = 0.02

NOT_BEGUN: Final = "it has not begun"
NOT_ENDED: Final = "it has not ended"

Said = Callable[[str], None]


class Maker(NamedTuple):
    """How a follower begins; it is told where to say what troubles it, and '' once nothing does."""

    name: str
    make: Callable[[EventLog, Said], AbstractContextManager[Follower]]
    known_as: str | None = None
    """What metrics call it: an exporter by its cursor, by which others may follow too. None: they do not show it."""


@dataclass
class Told:
    """What the follower of metrics hears of others in its process."""

    standings: Callable[[], Sequence[Standing]] = lambda: ()
    appends: Latencies = field(default_factory=Latencies)
    """How long those took that write the log, wherever they are."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, appends: Latencies) -> None:
        """From any thread, an earlier word after a later one too: what is counted only grows."""
        with self._lock:
            self.appends = max(self.appends, appends, key=lambda heard: heard.total_s)


def makers(settings: Settings, told: Told | None = None) -> list[Maker]:
    """Of everything that the settings want beside the sessions. Raises `UsageError` for what cannot be meant."""
    heard = told or Told()

    def exporter(target: Target) -> Maker:
        return Maker(target.name, lambda log, said: exporting(log, target, settings, troubled=said), target.cursor)

    def metrics(log: EventLog, said: Said) -> AbstractContextManager[Follower]:
        return MetricsFollower(
            log,
            settings,
            exporters=settings.metrics,
            said=said,
            others=lambda: {one.follower: one for one in (*kept(log, settings), *heard.standings())}.values(),
            appends=lambda: heard.appends,
        )

    def keeper(log: EventLog, _: Said) -> AbstractContextManager[Follower]:
        return parquet_follower(log, traces_url(log, settings))

    content(settings.telemetry)
    named_place(settings.telemetry.parquet)
    found = [exporter(target) for target in targets(settings.telemetry)]
    if settings.telemetry.parquet is not None:
        found.append(Maker("traces", keeper, "traces"))
    if wanted(settings.metrics, lambda _: None):
        found.append(Maker("metrics", metrics))
    return found


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

    def standings(self) -> list[Standing]:
        """Of those that keep a place, as metrics have it."""
        return [standing for loop in self._loops if (standing := loop.standing()) is not None]

    def finish(self) -> list[tuple[str, Lag]]:
        """Lets each get to the log's end, if it gets on at all, then closes. Returns how far behind they were left."""
        began = time.monotonic()
        while True:
            lags = self.lags()
            waited_s = time.monotonic() - began
            left = [lag for _, lag in lags if lag.events or lag.why]
            troubled = all(lag.why not in ("", NOT_BEGUN) for lag in left)
            if not left or waited_s > LAST_S or (waited_s > TROUBLED_S and troubled):
                break
            time.sleep(POLL_S)
        self._end(max(JOIN_S, LAST_S - waited_s))
        return [(loop.maker.name, loop.left(lag)) for loop, (_, lag) in zip(self._loops, lags, strict=True)]

    def close(self) -> None:
        """Whatever is under way stays undone, and its follower begins there next time. May be called twice."""
        self._end(JOIN_S)

    def _end(self, patience_s: float) -> None:
        self._stop.set()
        for loop in self._loops:
            loop.stop()
        until = time.monotonic() + patience_s
        for loop in self._loops:
            loop.join(max(0.0, until - time.monotonic()))


class _Loop(threading.Thread):
    """One follower, made anew when it failed."""

    def __init__(self, url: str, maker: Maker, stop: threading.Event) -> None:
        super().__init__(name=f"follow {maker.name}", daemon=True)
        self.maker = maker
        self._url = url
        self._stopping = stop
        self._follower: Follower | None = None
        self._accounted = Accounted()
        """Of followers that were before this one."""
        self._left: Standing | None = None
        """How the last of them stood in the end."""
        self._known = Lag(0, 0.0)
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
        with closing(open_log(self._url, mode="read")) as log:
            follower: Follower | None = None
            try:
                with self.maker.make(log, self._tell) as follower:
                    with self._lock:
                        self._follower, self._why = follower, ""
                    while not self._stopping.is_set():
                        follower.step(wait_s=IDLE_S)
                        patience.succeeded()
            finally:
                if follower is not None:
                    self._leave(follower)

    def _leave(self, follower: Follower) -> None:
        """It is at its end, with what it put down last; its log is open yet."""
        with self._lock:
            self._left = self._standing(follower)
            self._accounted = self._accounted.with_(_account(follower))
            self._follower = None
            if not self._stopping.is_set():
                self._why = self._why or NOT_BEGUN  # anew, until it is known what ended it

    def _tell(self, why: str) -> None:
        with self._lock:
            self._why = why

    def lag(self) -> Lag:
        with self._lock:
            return Lag(0, 0.0, self._why) if self._follower is None else self._lag(self._follower)

    def left(self, before: Lag) -> Lag:
        """How far behind it is left that was so far `before` its end."""
        with self._lock:
            why = NOT_ENDED if self.is_alive() else self._why
        return before if before.why else replace(before, why=why)

    def standing(self) -> Standing | None:
        """While it does not follow, as it last stood; None before, and of what keeps no place."""
        with self._lock:
            return self._left if self._follower is None else self._standing(self._follower)

    def _standing(self, follower: Follower) -> Standing | None:
        if self.maker.known_as is None:
            return None
        lag = self._lag(follower)
        return Standing(self.maker.known_as, lag.events, lag.seconds, self._accounted.with_(_account(follower)))

    def _lag(self, follower: Follower) -> Lag:
        """As it was last known where the log cannot be read now."""
        try:
            self._known = follower.lag()
        except EXPECTED as error:
            return replace(self._known, why=str(error))
        return self._known

    def stop(self) -> None:
        with self._lock:
            if self._follower is not None:
                self._follower.stop()


def _account(follower: Follower) -> Accounted:
    return follower.account.so_far if isinstance(follower, Exporter) else Accounted()

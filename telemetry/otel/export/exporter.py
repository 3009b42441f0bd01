"""The exporter: hands every event of a log to a sink, as spans and as records, and keeps its place.

Knows a cursor, a fold and couriers; knows no protocol. Invariant: the cursor stands at a position up to which all is
taken or named among the refused; whatever ends this process, the next one begins there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from telemetry.errors import ExportFailed
from telemetry.log.store import EventLog
from telemetry.otel.content import Content
from telemetry.otel.export.account import Account
from telemetry.otel.export.answers import Answer
from telemetry.otel.export.courier import Counts, Courier
from telemetry.otel.export.follower import Lag, lag_of
from telemetry.otel.export.parts import named_record, named_span, record_reference, span_bytes, span_reference
from telemetry.otel.export.patience import Patience, Stopped
from telemetry.otel.export.refused import Named, RefusedFile
from telemetry.otel.export.sink import Sink
from telemetry.otel.record import Detail, LogRecord, event_of, record_of, size_bytes
from telemetry.otel.span import Span
from telemetry.otel.spans import SpanFold

T = TypeVar("T")

BATCH_BYTES: Final = 1 << 20
"""Of one request, about; a collector takes 4 MiB by gRPC's default and 20 MiB by its own over HTTP."""
LOAD_EVENTS: Final = 2048
"""What is folded while the events before it are sent."""
LAST_REQUEST_S: Final = 2.0
"""How long an end waits for the request under way. What comes of it later is not known, and it is repeated."""


class Place(Protocol):
    """A cursor, or what stands for one."""

    @property
    def position(self) -> int | None: ...

    def move(self, position: int) -> None: ...


@dataclass(slots=True)
class Passing:
    """A place that is kept nowhere."""

    position: int | None = None

    def move(self, position: int) -> None:
        self.position = position


@dataclass(frozen=True, slots=True)
class What:
    """What goes out of each event."""

    spans: bool = True
    record: Detail | None = None
    content: Content = field(default_factory=Content)


@dataclass(frozen=True, slots=True)
class _Load:
    """What goes out before the cursor moves to `to`."""

    to: int
    positions: list[int]
    """Of its events."""
    spans: list[Span]
    records: list[LogRecord]


class Exporter:
    """A `Follower`. One load is sent while the next one is made, so that a collector's time is not lost."""

    def __init__(
        self,
        log: EventLog,
        place: Place,
        sink: Sink,
        what: What,
        *,
        refused: RefusedFile,
        begin: int = 0,
        interval_s: float = 0.0,
        patience_s: float | None = None,
        batch_bytes: int = BATCH_BYTES,
        troubled: Callable[[str], None] = lambda _: None,
    ) -> None:
        """From the place, or after position `begin` where it has none. At the log's end loads are at least `interval_s`
        apart. Without success for `patience_s` a step raises `ExportFailed`; None for never.

        `troubled` hears why nothing goes out, on another thread, and '' when something does."""
        self.name = sink.name
        self._log = log
        self._place = place
        self._sink = sink
        self._what = what
        self._refused = refused
        self._interval_s = interval_s
        self._batch_bytes = batch_bytes
        self._stop = threading.Event()
        self._why = ""
        self._troubled = troubled
        self._done = place.position if place.position is not None else begin
        self.account = Account(log, begins_at=self._done)
        """What became of every event since this process began."""
        self._subscription = log.subscribe(after=self._done)
        self._fold = SpanFold(log, content=what.content) if what.spans else None
        self._next_at = 0.0
        self._settling = threading.Lock()
        """Held while what became of a load is put down."""
        self._given_up = False
        self._sending: Future[None] | None = None
        patience = Patience(self._stop.wait, total_s=patience_s)

        def courier(
            ask: Callable[[Sequence[T]], Answer], weight: Callable[[T], int], by_reference: Callable[[T], T | None]
        ) -> Courier[T]:
            return Courier(
                ask,
                name=sink.name,
                weight=weight,
                by_reference=by_reference,
                patience=patience,
                batch_bytes=batch_bytes,
                troubled=self._said,
            )

        self._of_spans = courier(sink.spans, span_bytes, span_reference)
        self._of_records = courier(sink.records, size_bytes, record_reference)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits for the request under way, though not long. May be called twice."""
        self.stop()
        sending, self._sending = self._sending, None
        try:
            if sending is not None:
                with suppress(Stopped, ExportFailed):
                    sending.result(LAST_REQUEST_S)
        except TimeoutError:
            with self._settling:
                self._given_up = True  # the place may be another's by the time that the answer comes
        finally:
            self._subscription.close()
            self._sink.close()

    @property
    def position(self) -> int:
        """Everything up to there is out."""
        return self._done

    @property
    def refused_file(self) -> Path:
        """Where what was refused is named, if anything was."""
        return self._refused.path

    @property
    def spans(self) -> Counts:
        return self._of_spans.counts

    @property
    def records(self) -> Counts:
        return self._of_records.counts

    def step(self, *, wait_s: float) -> bool:
        """Raises `ExportFailed` when patience is at an end, and what the log raises; the place stands then."""
        load = self._load(0.0 if self._sending else wait_s)
        self._sent()
        if load is not None and not self._stop.is_set():
            self._sending = _in_background(lambda: self._send(load))
        return self._sending is not None

    def drain(self, to: int) -> None:
        """Steps until everything up to position `to` is out, or an end is wanted."""
        while self._done < to and not self._stop.is_set():
            self.step(wait_s=0.0)

    def stop(self) -> None:
        self._stop.set()

    def lag(self) -> Lag:
        return lag_of(self._log, self._done, why=self._why)

    def _load(self, wait_s: float) -> _Load | None:
        """The next load, as large as a request, or up to the log's end. None when there is nothing new."""
        spans: list[Span] = []
        records: list[LogRecord] = []
        positions: list[int] = []
        to, size = None, 0
        while len(positions) < LOAD_EVENTS and size < self._batch_bytes and not self._stop.is_set():
            batch = self._subscription.next(timeout_s=wait_s if to is None else 0.0)
            if not batch.events:
                break
            spans += self._fold.fold(batch.events) if self._fold is not None else ()
            if (detail := self._what.record) is not None:
                records += [record_of(event, detail=detail) for event in batch.events]
            if to is None:
                self._pace(batch.position)
            to = batch.position
            positions += [event.position for event in batch.events]
            size += sum(len(event.content or event.payload) for event in batch.events)
        return None if to is None else _Load(to, positions, spans, records)

    def _pace(self, position: int) -> None:
        """At the log's end, waits until it is time for the next load: more may come that can go along."""
        if self._log.position() - position < LOAD_EVENTS:
            self._stop.wait(max(0.0, self._next_at - time.monotonic()))
        self._next_at = time.monotonic() + self._interval_s

    def _sent(self) -> None:
        """Waits for the load under way."""
        if self._sending is not None:
            with suppress(Stopped):
                self._sending.result()
            self._sending = None

    def _send(self, load: _Load) -> None:
        named = [named_span(span, why) for span, why in self._of_spans.deliver(load.spans)]
        refused = self._of_records.deliver(load.records)
        named += [named_record(record, why) for record, why in refused]
        aside = {event_of(record).position for record, _ in refused}
        with self._settling:
            if not self._given_up:
                self._settle(load, named, aside)

    def _settle(self, load: _Load, named: Sequence[Named], aside: set[int]) -> None:
        if named:
            self._refused.keep(named, position=load.to)
        self.account.set_aside(aside)
        self.account.handed(position for position in load.positions if position not in aside)
        self._place.move(load.to)
        self.account.moved(load.to)
        self._done = load.to

    def _said(self, why: str) -> None:
        if why != self._why:
            self._why = why
            self._troubled(why)


def _in_background(work: Callable[[], None]) -> Future[None]:
    """On a thread that keeps no process from its end."""
    future = Future[None]()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  whoever waits for it hears of it
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="export", daemon=True).start()
    return future

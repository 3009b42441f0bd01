"""Questions to the rows of a log, from Python: `aetherloop.query`.

Knows settings, saved questions and how an answer is handed on; `telemetry.query` does the rest. Invariant: a log that
was opened here is closed when the answer is read to its end or closed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from runtime.errors import NotFound, UsageError
from runtime.settings import Settings, log_url, read_settings
from runtime.telemetry.traces import traces_url
from telemetry.log import EventLog, open_log
from telemetry.query.answer import BATCH_ROWS, Answer
from telemetry.query.engine import Limits, ask
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.saved import NAME, Saved, saved_in
from telemetry.query.shape import Column
from telemetry.query.statement import Scalar
from telemetry.query.traces.manifest import read
from telemetry.query.traces.place import place_of

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types
    import polars as pl
    import pyarrow as pa

    from telemetry.query.views import Seen

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class QueryResult:
    """An answer, read once: as batches, or whole as Arrow, pandas or Polars, which may be asked for again. A context,
    for whoever stops before its end."""

    def __init__(self, answer: Answer, stack: ExitStack) -> None:
        self._answer = answer
        self._stack = stack
        self._whole: pa.Table | None = None

    def __enter__(self) -> QueryResult:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def columns(self) -> tuple[Column, ...]:
        """Names and DuckDB's types."""
        return self._answer.columns

    @property
    def as_of(self) -> int:
        """Position of the log that it is true of: asked again with it, the same rows are seen."""
        return self._answer.as_of

    @property
    def from_log(self) -> int:
        """Events up to there that were not in Parquet."""
        return self._answer.from_log

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Arrow record batches, as they are found: memory stays bounded however many rows there are."""
        try:
            yield from self._answer.batches(rows)
        finally:
            self.close()

    def arrow(self) -> pa.Table:
        if self._whole is None:
            with self:
                self._whole = self._answer.read()
        return self._whole

    def pandas(self) -> pd.DataFrame:
        """Needs pandas, which aetherloop does not bring along."""
        return self.arrow().to_pandas()

    def polars(self) -> pl.DataFrame:
        """Needs Polars, which aetherloop does not bring along."""
        import polars

        frame = polars.from_arrow(self.arrow())
        assert isinstance(frame, polars.DataFrame), "a table becomes a frame"
        return frame

    def close(self) -> None:
        """Stops it. May be called twice."""
        self._answer.close()
        self._stack.close()


def query(
    sql: str,
    *,
    parameters: Mapping[str, Scalar] | None = None,
    log: str | EventLog | None = None,
    traces: str | Path | None = None,
    as_of: int | None = None,
    memory: str | int | None = None,
    settings: Settings | None = None,
    seen: Seen | None = None,
) -> QueryResult:
    """`aetherloop.query`, which says what it means."""
    used = settings or read_settings({"log": log if isinstance(log, str) else None}).settings
    text, values = resolved(sql, parameters or {}, used)
    limits = Limits(memory_bytes=size_bytes(memory if memory is not None else used.query_memory))
    with ExitStack() as stack:
        if isinstance(log, str) or log is None:
            store = open_log(log_url(used), mode="read")
            stack.callback(store.close)
        else:
            store = log
        if traces is not None:
            _check(str(traces))
        answer = ask(
            store,
            text,
            values,
            traces=traces_url(store, used, None if traces is None else str(traces)),
            as_of=as_of,
            limits=limits,
            seen=seen,
        )
        return QueryResult(answer, stack.pop_all())


def _check(traces: str) -> None:
    """Raises `NotFound` where somebody names traces that are not there: all would be made from the log, slowly."""
    place = place_of(traces)
    if read(place) is None:
        raise NotFound(
            f"there are no traces in {place.name}. To make them: aether trace export --parquet {place.name}; without "
            "--traces the query is answered from the log"
        )


def resolved(text: str, given: Mapping[str, Scalar], settings: Settings) -> tuple[str, dict[str, Scalar]]:
    """SQL and its values, of what is SQL or the name of a saved question. Raises `UsageError` where there is none of
    that name."""
    if not NAME.fullmatch(text):
        return text, dict(given)
    saved = saved_questions(settings)
    if text not in saved:
        from runtime.explain import nearest

        if text in KINDS:
            raise UsageError(f"{text} is a view and no saved query. Try: SELECT * FROM {text} LIMIT 10")
        raise UsageError(f"there is no saved query {text!r}{nearest(text, tuple(saved))}")
    query = saved[text]
    return query.sql, query.values({name: _written(value) for name, value in given.items()})


def saved_questions(settings: Settings) -> dict[str, Saved]:
    """Those that are shipped, and those in the folder of the settings, which stand in place of them."""
    return saved_in((settings.queries or settings.home / "queries").expanduser())


def size_bytes(text: str | int) -> int:
    """`512MB`, `1.5GiB`, or a number of bytes. Raises `UsageError`."""
    if isinstance(text, int):
        return text
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no size; one looks like 512MB or 4GiB")
    number, power, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[power.lower()])


def _written(value: Scalar) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)

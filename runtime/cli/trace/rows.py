"""Rows of an answer, printed or written as they come.

Knows formats; knows nothing of queries. Invariant: memory stays bounded, and only a table shortens what it shows, which
it marks."""

from __future__ import annotations

import csv
import io
import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, BinaryIO, Final

import orjson

if TYPE_CHECKING:
    import pyarrow as pa

    from runtime.telemetry.query import QueryResult

CELL: Final = 60
"""Characters of a cell that a table shows at most."""
GAP: Final = 2
AT_ONCE: Final = 2_048
"""Rows that are turned into text together: payloads may have many KiB each."""


def json_lines(result: QueryResult, target: BinaryIO) -> None:
    """A JSON object a row."""
    for batch in result.batches(AT_ONCE):
        target.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in _rows(batch))


def csv_lines(result: QueryResult, target: BinaryIO) -> None:
    """A header and a line a row, as RFC 4180 has it; lists and objects are JSON, a missing value is an empty field."""
    names = [column.name for column in result.columns]
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for batch in result.batches(AT_ONCE):
        writer.writerows([_field(row[name]) for name in names] for row in _rows(batch))
    text.detach()


def parquet(result: QueryResult, target: BinaryIO) -> None:
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    for batch in result.batches(AT_ONCE * 8):
        writer = writer or pq.ParquetWriter(target, batch.schema, compression="zstd")
        writer.write_batch(batch)
    assert writer is not None, "an answer has a batch, if an empty one"
    writer.close()


def table(result: QueryResult, target: BinaryIO, *, limit: int) -> tuple[int, bool]:
    """Columns where they fit the terminal, else a block a row. Returns how many rows were printed, and whether there
    are more; with a limit of 0 all are, a batch at a time."""
    names = [column.name for column in result.columns]
    printed, widths = 0, {}
    for batch in result.batches(AT_ONCE):
        rows = list(_rows(batch))
        more = bool(limit) and printed + len(rows) > limit
        shown = [{name: _cell(row[name]) for name in names} for row in (rows[: limit - printed] if more else rows)]
        if not printed:
            widths = {name: max(len(name), *(len(row[name]) for row in shown), 0) for name in names}
        _print(shown, widths, target, first=printed)
        printed += len(shown)
        if more:
            return printed, True
    return printed, False


def _print(rows: list[dict[str, str]], widths: Mapping[str, int], target: BinaryIO, *, first: int) -> None:
    wide = sum(widths.values()) + GAP * (len(widths) - 1) > shutil.get_terminal_size().columns
    lines: list[str] = []
    if not wide and not first:
        lines.append((" " * GAP).join(f"{name:<{width}}" for name, width in widths.items()).rstrip())
    name_width = max(map(len, widths))
    for number, row in enumerate(rows, start=first + 1):
        if wide:
            lines.append(f"— {number} —")
            lines += [f"{name:<{name_width}}{' ' * GAP}{cell}" for name, cell in row.items()]
        else:
            lines.append((" " * GAP).join(f"{row[name]:<{width}}" for name, width in widths.items()).rstrip())
    target.write("".join(f"{line}\n" for line in lines).encode())


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, object]]:
    for row in batch.to_pylist():
        yield {name: _plain(value) for name, value in row.items()}


def _plain(value: object) -> object:
    """As JSON has it. A number that JSON lacks is a text, or it would come back as a missing value."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"  # UTC, with and without a zone
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value)


def _number(value: Decimal) -> int | float | str:
    """A text where it has more digits than numbers keep."""
    if value == value.to_integral_value() and abs(value) < 1 << 63:
        return int(value)
    return float(value) if len(value.normalize().as_tuple().digits) <= sys.float_info.dig else str(value)


def _field(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value


def _cell(value: object) -> str:
    if value is None:
        return "—"
    text = "".join(sign if sign.isprintable() else " " for sign in str(_field(value)))  # nothing moves the cursor
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"

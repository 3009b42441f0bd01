"""How a dataset's files are written and named: JSON Lines, Parquet, CSV, or shards as the Hugging Face hub has them.

Knows formats and names of files; knows nothing of folders that are whole or not. Invariant: groups come split by split,
so one file is open at a time, and every row of a group is written to its split's."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
from pyarrow import csv, parquet

from telemetry.datasets.canonical import connected, quoted
from telemetry.datasets.groups import Group
from telemetry.datasets.recipe import Format

SHARD_BYTES: Final = 500 * 1024 * 1024
"""A shard ends with the group at which its lines reach this; the hub's own tools cut at 500 MB."""


class Sheet(Protocol):
    """One file. It is whole once `close` returned."""

    def write(self, group: Group) -> None: ...

    def close(self) -> None: ...


class JsonLinesSheet:
    """The canonical lines themselves."""

    def __init__(self, path: Path, _: pa.Schema) -> None:
        self._file = path.open("wb")

    def write(self, group: Group) -> None:
        for lines in group.lines:
            self._file.write(lines.bytes)

    def close(self) -> None:
        self._file.close()


class ParquetSheet:
    """Compressed by zstd, a row group for each group."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._sink = pa.OSFile(str(path), "wb")
        self._file = parquet.ParquetWriter(self._sink, schema, compression="zstd")

    def write(self, group: Group) -> None:
        self._file.write_table(group.fields.cast(self._schema), row_group_size=group.fields.num_rows)

    def close(self) -> None:
        with self._sink:
            self._file.close()


class CsvSheet:
    """With a head line. What is nested is JSON; null is nothing, and empty text is `""`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._connection = connected()
        self._sql = ", ".join(_flat(field) for field in schema)
        self._sink = pa.OSFile(str(path), "wb")
        self._file: csv.CSVWriter | None = None

    def write(self, group: Group) -> None:
        flat = self._connection.from_arrow(group.fields).project(self._sql).to_arrow_table()
        if self._file is None:
            self._file = csv.CSVWriter(self._sink, flat.schema)
        self._file.write_table(flat)

    def close(self) -> None:
        with self._sink, self._connection:
            if self._file is not None:
                self._file.close()


def _flat(field: pa.Field) -> str:
    name = quoted(field.name)
    return f"to_json({name})::VARCHAR AS {name}" if pa.types.is_nested(field.type) else name


@dataclass(frozen=True, slots=True)
class _Kind:
    sheet: Callable[[Path, pa.Schema], Sheet]
    ending: str
    sharded: bool = False


_KINDS: Final[dict[Format, _Kind]] = {
    "jsonl": _Kind(JsonLinesSheet, "jsonl"),
    "parquet": _Kind(ParquetSheet, "parquet"),
    "csv": _Kind(CsvSheet, "csv"),
    "huggingface": _Kind(ParquetSheet, "parquet", sharded=True),
}


class Files:
    """The files of one dataset in `folder`, which is there and empty: `SPLIT.jsonl` and the like, or
    `data/SPLIT-00000-of-00002.parquet`."""

    def __init__(self, format_: Format, folder: Path, *, json_fields: Collection[str]) -> None:
        self._kind = _KINDS[format_]
        self._folder = folder / "data" if self._kind.sharded else folder
        self._folder.mkdir(exist_ok=True)
        self._json = json_fields
        self._open: Sheet | None = None
        self._split = ""
        self._size = 0
        self._paths: dict[str, list[Path]] = {}

    def write(self, group: Group) -> None:
        full = self._kind.sharded and self._size >= SHARD_BYTES
        if self._open is None or group.split != self._split or full:
            self._next(group)
        assert self._open is not None, "opened above"
        self._open.write(group)
        self._size += group.bytes

    def close(self) -> dict[str, tuple[Path, ...]]:
        """Ends the last file, and says which there are, by split."""
        if self._open is not None:
            self._open.close()
            self._open = None
        return {split: tuple(self._named(split, paths)) for split, paths in self._paths.items()}

    def _next(self, group: Group) -> None:
        if self._open is not None:
            self._open.close()
        self._split, self._size = group.split, 0
        paths = self._paths.setdefault(group.split, [])
        number = f"-{len(paths):05}" if self._kind.sharded else ""
        paths.append(self._folder / f"{group.split}{number}.{self._kind.ending}")
        self._open = self._kind.sheet(paths[-1], _with_json(group.fields.schema, self._json))

    def _named(self, split: str, paths: list[Path]) -> list[Path]:
        """Shards say how many there are, which is known at the end."""
        if not self._kind.sharded:
            return paths
        return [path.rename(path.with_stem(f"{path.stem}-of-{len(paths):05}")) for path in paths]


def _with_json(schema: pa.Schema, json_fields: Collection[str]) -> pa.Schema:
    """JSON as Parquet's own logical type of text: structs would give every row the union of all rows' keys."""
    return pa.schema(
        [pa.field(one.name, pa.json_(one.type) if one.name in json_fields else one.type) for one in schema]
    )

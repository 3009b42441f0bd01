"""What stands in traces, and a process that keeps them: `python -m tests.kept_rows LOG FOLDER`, a commit a batch, until
it is killed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from telemetry.log import EventLog, open_log
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.tables import rows_of
from telemetry.query.traces.files import decoded
from telemetry.query.traces.manifest import Manifest, read
from telemetry.query.traces.place import Place
from telemetry.query.traces.writer import Traces

Tables = Mapping[str, pa.Table]


def manifest_of(place: Place) -> Manifest:
    found = read(place)
    assert found is not None
    return found


def kept(place: Place) -> Tables:
    """The rows that stand there, each kind's in the order of streams and positions."""
    manifest = manifest_of(place)
    return {
        kind: in_order(
            pa.concat_tables(
                [KINDS[kind].schema.empty_table()]
                + [decoded(kind, place.read(file.path)) for file in manifest.of(kind)]
            )
        )
        for kind in KINDS
    }


def in_order(table: pa.Table) -> pa.Table:
    """The order is stable: rows of one position stay as they were told."""
    order = pc.sort_indices(table, sort_keys=[("stream", "ascending"), ("position", "ascending")])
    return table.take(order).combine_chunks()


def assert_kept(place: Place, log: EventLog) -> int:
    """That the rows are those of exactly the events up to the cursor. Returns it."""
    position = manifest_of(place).position
    found, expected = kept(place), rows_of(log, after=0, to=position)
    for kind in KINDS:
        assert found[kind].equals(in_order(expected[kind])), f"{kind} at {position}"
    return position


def main() -> None:
    url, folder = sys.argv[1:]
    with closing(open_log(url, mode="read")) as log, Traces(log, Path(folder), interval_s=0.0) as traces:
        while True:
            traces.step(wait_s=0.1)


if __name__ == "__main__":
    main()

"""The benchmark of queries asks Parquet and SQLite for the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.telemetry.queries import AT_ONCE, GROUPED, TIMELINE, TIMELINE_OF_LOG, made, session_of
from telemetry.query.engine import ask


def test_both_answer_alike_and_nothing_is_left_to_be_made_from_the_log(tmp_path: Path) -> None:
    with closing(made(tmp_path, 60 * AT_ONCE)) as log, closing(sqlite3.connect(tmp_path / "log.db")) as database:
        traces = str(tmp_path / "traces")
        with ask(log, GROUPED, traces=traces) as answer:
            assert answer.from_log == 0
            grouped = sorted(tuple(row.values()) for row in answer.read().to_pylist())
        assert grouped == sorted(database.execute(GROUPED).fetchall())
        assert len(grouped) > 5
        session = session_of(7)
        with ask(log, TIMELINE, {"session": session}, traces=traces) as answer:
            rows = answer.read().to_pylist()
        stored = database.execute(TIMELINE_OF_LOG, (f"session/{session}",)).fetchall()
        assert [(row["version"], row["payload"].encode()) for row in rows] == [(row[0], row[6]) for row in stored]
        assert len(rows) == 60

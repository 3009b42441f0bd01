"""Effects on DBOS: one step an effect, SQLite system database. What was cut off DBOS recovers by itself when it is
launched, as its pages say. It knows neither keys nor probes of effects. See `benchmarks.effects`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dbos import DBOS, SetWorkflowID

from benchmarks.effects import Kind, items
from benchmarks.steps_dbos import launched
from benchmarks.target import VARIABLE, put

POLL_S = 0.02


@DBOS.step()
def put_step(item: str) -> str:
    return put(item, None)


@DBOS.workflow()
def putting(session: str) -> None:
    for item in items(session):
        put_step(item)


@contextmanager
def serving(folder: Path) -> Iterator[Callable[[str, Kind], None]]:
    """Yields what runs a session, or waits for the end of one that is recovered."""
    os.environ[VARIABLE] = str(folder / "target.db")
    with launched(folder / "dbos.sqlite"):

        def carry(session: str, _: Kind) -> None:
            if DBOS.get_workflow_status(session) is not None:
                DBOS.retrieve_workflow(session).get_result(polling_interval_sec=POLL_S)
                return
            with SetWorkflowID(session):
                DBOS.start_workflow(putting, session).get_result()

        yield carry

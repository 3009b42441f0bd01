"""SIGKILL to the processes that keep a projection: its rows are never ahead of its cursor, nor behind it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from telemetry.log import EventLog
from telemetry.log.projection.project import Projected, place_of
from tests.aether import ROOT, end_with_parent, wait_until
from tests.contract.stores import STORES, fill
from tests.projections import Chains, chains, undisturbed

KILLS = 12
EVENTS_A_KILL = 2_000
"""Four batches at least, so that most kills fall inside one."""


@contextmanager
def keeper(log: EventLog) -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps the projection of `log` up to date."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "tests.projections", log.url)
    process = subprocess.Popen(command, env=env, cwd=ROOT, preexec_fn=end_with_parent)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def position(log: EventLog) -> int:
    """Where the cursor stands that is kept; 0 while there is none."""
    place = place_of(log, Chains.name)
    try:
        with place.read() as rows:
            return int(str(rows.execute("SELECT position FROM cursor")[0][0])) if place.tables(rows) else 0
    finally:
        place.close()


@pytest.fixture(params=STORES)
def log(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    """A log of each kind, written by the test."""
    store = STORES[request.param](request)
    yield store.open()
    store.close()


def test_a_projection_killed_again_and_again_has_the_rows_of_one_that_was_not(log: EventLog) -> None:
    chance = random.Random(4)
    fell: list[int] = []
    for number in range(KILLS):
        begun = position(log)
        with keeper(log) as first, keeper(log):
            fill(log, f"s{number}", EVENTS_A_KILL // 50, each=50)
            goal = begun + chance.randrange(1, EVENTS_A_KILL)
            wait_until(lambda goal=goal: position(log) >= goal, timeout_s=120, what="rows")  # type: ignore[misc]
            first.send_signal(signal.SIGKILL)
        fell.append(position(log))
        with Projected(log, Chains()) as projected, projected.rows() as (at, rows):
            ((counted,),) = rows.execute("SELECT events FROM chain WHERE stream = ''")
            assert counted == at, "the rows are of another position than the cursor"
    assert any(at < (number + 1) * EVENTS_A_KILL for number, at in enumerate(fell)), "no kill fell before the end"
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        struck = chains(projected)
    assert struck == undisturbed(log)
    place_of(log, Chains.name).discard()
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        assert chains(projected) == struck, "made again from the first event"

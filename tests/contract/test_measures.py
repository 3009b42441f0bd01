"""Totals of a log's events, wherever the log and they lie."""

from __future__ import annotations

from runtime.telemetry.metrics import counted
from telemetry.log import EventLog
from telemetry.log.projection.project import Projected
from telemetry.otel import names
from telemetry.otel.measures.fold import Measures, totals_of
from telemetry.otel.measures.totals import Totals
from tests.contract.stores import Store, fill
from tests.golden.test_golden import SESSIONS, read


def test_totals_are_those_of_one_pass_whoever_goes_on_with_them(log: EventLog) -> None:
    for name in SESSIONS:
        for event in read(name):
            log.restore([event]).result()
        counted(log)  # another process would
    totals, position = counted(log)
    assert position == log.position()
    assert totals == one_pass(log)
    assert sum(totals.numbers[names.CYCLE_COUNT.name].values()) == 21
    assert totals.numbers[names.SURPRISE_NET.name]["maze",] == 6.8520560015668055, (
        "no float is rounded where it is kept"
    )


def test_a_reader_that_may_write_nothing_comes_to_the_same(store: Store) -> None:
    fill(store.open(), "session/a", 1_100)
    reader = store.open(mode="read")
    totals, _ = counted(reader)
    assert totals == one_pass(reader)


def one_pass(log: EventLog) -> Totals:
    """In memory, from the first event on."""
    with Projected(log, Measures()) as projected:
        projected._place.discard()
        projected.catch_up()
        with projected.rows() as (_, rows):
            return totals_of(rows)

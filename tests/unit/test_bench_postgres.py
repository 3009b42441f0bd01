"""The benchmark of what a subscriber misses measures what it says."""

from __future__ import annotations

from benchmarks.postgres_log import EACH, SESSIONS, measure
from tests.postgres import Server


def test_a_small_run_misses_nothing_though_transactions_and_positions_are_in_different_order(server: Server) -> None:
    """`server` is asked for only to skip where there is none."""
    found = measure(events=16 * SESSIONS * EACH, writers=4, holding=2)
    assert (found.events, found.missed, found.twice) == (16 * SESSIONS * EACH, 0, 0)
    assert found.inverted > 0
    assert found.events_per_s > 0

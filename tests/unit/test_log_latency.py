"""How long appends take, counted where they are made and put together from several writers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.log.latency import BOUNDS_S, Latencies

SECONDS = st.lists(st.floats(1e-6, 1e3), max_size=30)


def counted(seconds: list[float]) -> Latencies:
    found = Latencies()
    for one in seconds:
        found.took(one)
    return found


@given(SECONDS, SECONDS)
def test_what_two_writers_counted_is_what_one_would_have(one: list[float], other: list[float]) -> None:
    both, whole = counted(one).with_(counted(other)), counted(one + other)
    assert (both.counts, both.least_s, both.most_s) == (whole.counts, whole.least_s, whole.most_s)
    assert abs(both.total_s - whole.total_s) <= 1e-9 * (1 + whole.total_s)


def test_a_bucket_includes_its_bound_and_what_is_above_all_bounds_has_its_own() -> None:
    found = counted([BOUNDS_S[3], BOUNDS_S[-1] + 1])
    assert (found.counts[3], found.counts[-1]) == (1, 1)

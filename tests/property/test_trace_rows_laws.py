"""Laws of rows: they follow from the events alone, wherever a fold begins and however its events are cut."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.log import EventLog, open_log
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.fold import Fold
from telemetry.query.rows.tables import rows_of, table
from telemetry.query.traces.compact import compact
from telemetry.query.traces.manifest import read
from telemetry.query.traces.place import place_of
from telemetry.query.traces.writer import Traces
from tests.in_turns import closings, fill_in_turns, fill_with_shapes, forked, golden
from tests.kept_rows import assert_kept

Tables = dict[str, pa.Table]


@contextmanager
def lived() -> Iterator[EventLog]:
    """Sessions in turns, and a fork of one of them."""
    with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
        fill_in_turns(log)
        fill_with_shapes(log)
        forked(log, "maze", "maze-again", at_version=list(closings("maze"))[2])
        yield log


@pytest.fixture(scope="module")
def lived_log() -> Iterator[EventLog]:
    with lived() as log:
        yield log


def joined(parts: Sequence[Tables]) -> Tables:
    return {kind: pa.concat_tables([part[kind] for part in parts]) for kind in KINDS}


def same(found: Tables, expected: Tables) -> None:
    for kind in KINDS:
        assert found[kind].combine_chunks().equals(expected[kind].combine_chunks()), kind


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 700), max_size=6))
def test_folds_that_begin_anywhere_give_the_rows_of_one(lived_log: EventLog, cuts: list[int]) -> None:
    head = lived_log.position()
    places = [0, *sorted(min(cut, head) for cut in cuts), head]
    parts = [rows_of(lived_log, after=after, to=to) for after, to in itertools.pairwise(places)]
    same(joined(parts), rows_of(lived_log, after=0))


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 200))
def test_one_fold_gives_the_same_rows_however_its_events_are_cut(lived_log: EventLog, size: int) -> None:
    events, fold, parts = list(lived_log.read_all()), Fold(lived_log), []
    for start in range(0, len(events), size):
        fold.add(events[start : start + size])
        parts.append({kind: table(kind, rows) for kind, rows in fold.take().items()})
    same(joined(parts), rows_of(lived_log, after=0))


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 700))
def test_the_rows_up_to_a_position_are_those_of_the_log_as_it_was_then(lived_log: EventLog, pin: int) -> None:
    pin = min(pin, lived_log.position())
    whole = rows_of(lived_log, after=0)
    stood = {kind: rows.filter(pc.less_equal(rows["position"], pin)) for kind, rows in whole.items()}
    same(stood, rows_of(lived_log, after=0, to=pin))


def test_an_event_forgotten_by_a_fold_of_many_streams_is_read_back(
    lived_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows_of(lived_log, after=0)
    monkeypatch.setattr("telemetry.query.rows.fold.MAX_STORIES", 2)
    same(rows_of(lived_log, after=0), expected)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 60)),
            st.tuples(st.sampled_from(["write", "lose", "join"]), st.just(0)),
        ),
        max_size=25,
    )
)
def test_whatever_is_appended_written_lost_and_joined_the_traces_are_the_rows_up_to_their_cursor(
    acts: list[tuple[str, int]],
) -> None:
    left = [event for name in ("refund", "maze") for event in golden(name)]
    url = f"memory://traces-{uuid4().hex}"
    place = place_of(url)
    with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
        for act, some in acts:
            if act == "append":
                for event in left[:some]:
                    log.restore([event]).result()
                left = left[some:]
            elif act == "join":
                if read(place) is not None:
                    compact(place)
            else:
                with suppress(Lost), Traces(log, url) as traces:
                    traces.step(wait_s=0)
                    if act == "lose":
                        raise Lost
            if read(place) is not None:
                assert_kept(place, log)


class Lost(Exception):
    """A writer that ends half-way."""

"""Laws of snapshots, over real sessions and over anything a session could hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from loops.rebuild import Standing, rebuild
from loops.scene import Scene
from loops.snapshot import newest, read, stand, write
from telemetry.log import EventLog, open_log
from telemetry.log.imports import import_lines
from tests.anything import hints_of, values
from tests.local import Local
from tests.property.test_state_laws import SCENARIOS

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ("maze", "lava", "refund", *sorted(SCENARIOS))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """A log of the golden sessions and of those of the laws of the state, which were cut off and resumed."""
    with closing(open_log(tmp_path_factory.mktemp("laws") / "log.db")) as log, closing(Local(log)) as local:
        for name, text in SCENARIOS.items():
            local.run(name, text, cycles=20, stop=iter([False] * 2 + [True] * 9).__next__)
            local.run(name, text, cycles=20)
        for name in ("maze", "lava", "refund"):
            import_lines(log, (GOLDEN / f"{name}.jsonl").read_bytes().splitlines())
        yield log


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_a_session_taken_up_from_any_snapshot_stands_where_its_whole_history_leads(
    log: EventLog, name: str, data: st.DataObject
) -> None:
    stream = f"session/{name}"
    cuts = list(log.read(stream, types=["session.cycle_closed"]))
    at = data.draw(st.sampled_from(cuts))
    standing = rebuild(log.facts(stream, to=at.version))
    log.drop_snapshots()
    log.put_snapshot(stream, at.version, write(log, stream, standing, at.hash))
    snapshot, unsound = newest(log, stream)
    assert snapshot is not None
    assert (snapshot.standing, unsound) == (standing._replace(size_bytes=0), 0)
    from_there, whole = stand(log, stream, snapshot), stand(log, stream, None)
    assert from_there.size_bytes < whole.size_bytes
    assert from_there._replace(size_bytes=0) == whole._replace(size_bytes=0)


HELD = {f"{cls.__name__}.{name}": hint for cls in (Standing, Scene) for name, hint in hints_of(cls).items()}


@pytest.mark.parametrize("name", [name for name in HELD if name != "Standing.scene"])
def test_anything_that_a_session_can_hold_survives_the_bytes_of_a_snapshot(name: str) -> None:
    adapter = TypeAdapter(HELD[name])

    @settings(max_examples=15, deadline=None, database=None)
    @given(held=values(HELD[name]))
    def law(held: object) -> None:
        assert adapter.validate_json(adapter.dump_json(held)) == held

    law()


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_what_is_no_snapshot_is_not_taken_for_one(content: bytes) -> None:
    assert read(content) is None

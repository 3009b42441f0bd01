"""Replay folds what was recorded and says where it does not agree."""

from __future__ import annotations

import pytest

from loops.state import REDUCER
from runtime.errors import NotFound, UsageError
from runtime.replay import replay
from telemetry.events import Draft, session
from tests.local import Local
from tests.worlds import ACTS

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", options = { mark = "replay" } }
memory = { recall = 0 }
"""


def test_a_replay_reproduces_the_state_hash_and_acts_nowhere(local: Local) -> None:
    row = local.run("line", LINE, cycles=5)
    ACTS.clear()
    report = replay(local.log, "line")
    assert report.agrees
    assert (report.state_hash, report.version, report.cycles) == (row.state_hash, row.version, 5)
    assert (report.checked, report.not_comparable, report.unknown) == (6, 0, 0)
    assert not ACTS
    assert replay(local.log, "session/line") == report


def test_a_replay_stops_at_the_version_it_is_asked_for(local: Local) -> None:
    local.run("line", LINE, cycles=5)
    third = local.events("line", "session.cycle_closed")[2]
    report = replay(local.log, "line", to=third.version)
    assert isinstance(third.event, session.CycleClosed)
    assert (report.version, report.cycles, report.checked) == (third.version, 3, 3)
    assert report.state_hash == third.event.state_hash
    head = local.log.head("session/line")
    assert head is not None
    for wrong in (0, -1, head.version + 1):
        with pytest.raises(UsageError, match=f"versions 1 to {head.version}; {wrong} is not"):
            replay(local.log, "line", to=wrong)


def test_a_replay_names_the_first_version_whose_hash_does_not_come_out(local: Local) -> None:
    local.run("line", LINE, cycles=2, stop=iter([False, True]).__next__)
    said = session.CycleClosed(cycle=2, state_hash="f" * 64, reducer=REDUCER)
    wrong = local.append("line", Draft(event=said, command="wrong", cycle=2))
    local.append("line", Draft(event=said, command="wrong again", cycle=2))
    report = replay(local.log, "line")
    assert not report.agrees
    assert (report.differs_at, report.recorded) == (wrong.version, "f" * 64)
    assert report.state_hash != "f" * 64


def test_a_hash_of_another_reducer_is_not_comparable(local: Local) -> None:
    local.run("line", LINE, cycles=2, stop=iter([False, True]).__next__)
    other = session.CycleClosed(cycle=2, state_hash="f" * 64, reducer=REDUCER + 1)
    local.append("line", Draft(event=other, command="other", cycle=2))
    report = replay(local.log, "line")
    assert (report.agrees, report.not_comparable) == (True, 1)


def test_a_session_that_is_not_there_is_answered_with_the_nearest(local: Local) -> None:
    with pytest.raises(NotFound, match="this log holds no session yet"):
        replay(local.log, "line")
    local.run("line", LINE, cycles=1)
    with pytest.raises(NotFound, match="did you mean 'line'"):
        replay(local.log, "lina")

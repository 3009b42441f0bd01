"""An environment that misbehaves ends its own session, with the reason on the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telemetry.events import execute, session
from tests.local import Local, folded
from tests.worlds import ACTS, RELEASE

BAD = """
name = "bad"
memory = { recall = 0 }
[environment]
id = "gymnasium:AetherBad-v0"
options = { how = "HOW", mark = "HOW" }
"""

HASTY = f"""
timeouts = {{ execute_s = 5 }}
{BAD}"""
"""For one that hangs: every move before it, and the making of its environment, has that time too."""


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    RELEASE.clear()
    ACTS.clear()
    yield
    RELEASE.set()


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("raises", "raised", "RuntimeError: the motor is on fire"),
        ("nan", "invalid", "found nan at [1]"),
        ("reward", "invalid", "the reward should be a finite number"),
        ("shape", "invalid", "shape"),
        ("space", "invalid", "space"),
        ("hangs", "timeout", "did not answer within 5 s"),
    ],
)
def test_an_environment_that_misbehaves_fails_its_effect_and_closes_its_session(
    local: Local, how: str, kind: str, says: str
) -> None:
    row = local.run("bad", (HASTY if how == "hangs" else BAD).replace("HOW", how), cycles=9)
    events = local.events("bad")
    failed = next(r.event for r in events if isinstance(r.event, execute.Failed))
    assert (failed.kind, says in failed.error) == (kind, True), failed.error
    intended = [r.event for r in events if isinstance(r.event, execute.Intended)]
    assert failed.effect == intended[-1].effect
    assert len(intended) == 3
    assert [r.type for r in events][-4:] == [
        "execute.failed",
        "session.cycle_closed",
        "learn.session_reviewed",
        "session.closed",
    ]
    closed = events[-1].event
    assert isinstance(closed, session.Closed)
    assert (closed.reason, closed.error) == ("failed", failed.error)
    assert closed.state_hash == row.state_hash
    assert (row.status, row.outcome, row.error, row.cycles) == ("closed", "failed", failed.error, 3)
    assert folded(events).effects == (), "a failed effect is settled"
    assert ACTS[how] == 3, "it acted again after it had failed"


def test_an_environment_whose_reset_raises_closes_its_session_with_the_reason(local: Local) -> None:
    row = local.run("bad", BAD.replace("HOW", "reset"), cycles=9)
    assert row.outcome == "failed"
    assert "the motor does not answer" in str(row.error)
    assert local.types("bad") == ["session.opened", "session.cycle_opened", "learn.session_reviewed", "session.closed"]


def test_others_go_on_while_one_fails(local: Local) -> None:
    assert local.run("bad", BAD.replace("HOW", "raises"), cycles=5).outcome == "failed"
    assert local.run("good", BAD.replace("HOW", "never"), cycles=5).outcome == "cycles"


def test_a_session_whose_environment_has_other_spaces_on_resume_closes_with_both(local: Local) -> None:
    text = BAD.replace("HOW", "never")
    turns = iter([False, True])
    assert local.run("changed", text, stop=lambda: next(turns)).status == "suspended"
    row = local.run("changed", text.replace("AetherBad", "AetherLine").replace('how = "never", ', ""), cycles=9)
    assert row.outcome == "failed"
    assert "desired_goal" in str(row.error) or "'goal': [2]" in str(row.error)
    assert "the session began with" in str(row.error)


def test_a_state_that_outgrows_its_bound_closes_the_session_with_the_reason(local: Local) -> None:
    text = (
        BAD.replace("HOW", "never")
        + f"""
    [[heart.rules]]
    id = "r"
    reason = "r"
    virtue = "{"v" * 70_000}"
    actions = [0]
    """
    )
    row = local.run("fat", text, cycles=3)
    assert (row.status, row.outcome) == ("closed", "failed")
    assert "the bound is 65,536" in str(row.error)

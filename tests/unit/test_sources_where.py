"""`--where`: which sessions an expression chooses, and that it can do nothing else."""

from __future__ import annotations

import string
import sys
from contextlib import suppress
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import NotFound, UsageError
from runtime.models.training.sources import sources
from runtime.models.training.where import COLUMNS, LONGEST, SessionFacts, Where
from runtime.sessions import PREFIX
from telemetry.events import learn, session
from tests.local import Local

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 6, episodes = 3, success = 'reward' }
world_model = { kind = "none" }
memory = { recall = 0 }
"""
OTHER = LINE.replace('"line"', '"other"').replace("AetherLine-v0", "AetherBad-v0")
ROWS = (
    SessionFacts("a", "maze", "w", 1, "closed", "done", 50, "2026-11-26T01:05:00Z", 3, 2, 1.5),
    SessionFacts("b", "it's", "w", 2, "open", None, 500, "2026-11-20T01:05:00Z", 0, 0, -1.0),
)


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("scenario = 'maze' and successes > 0 and cycles < 100", {"a"}),
        ("scenario = 'it''s'", {"b"}),
        ("opened_at >= '2026-11-25'", {"a"}),
        ("outcome is null", {"b"}),
        ("outcome <> 'failed'", {"a"}),  # of what is null nothing is true
        ("successes * 1.0 / max(episodes, 1) > 0.5 or reward < 0", {"a", "b"}),
        ("scenario like 'ma%' and seed in (1, 2)", {"a"}),
        ("case when cycles > 100 then 1 else 0 end", {"b"}),
        ("session.cycles between 10 and 60", {"a"}),
        ("session = 'a -- ; /* \" )'", set()),  # inside quotes everything is text
    ],
)
def test_an_expression_chooses_sessions(expression: str, chosen: set[str]) -> None:
    assert Where(expression).choose(ROWS) == chosen


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("cycels > 4", "there is no column 'cycels'; did you mean 'cycles'?"),
        ("person = 'ada'", "there is no column 'person'"),
        ("scenario = maze", "text stands in single quotes"),
        ('"cycels" > 4', "text stands in single quotes"),
        ("", "it is empty"),
        (" ", "it is empty"),
        ("cycles >", "syntax error"),
        ("cycles > 1 limit 1", "syntax error"),
        ("1 = 1; drop table session", "';' has no place in it"),
        ("1) limit 1 --", "'--' has no place in it"),
        ("1) limit 1 /*", "'/*' has no place in it"),
        ("1) union select name from sqlite_master where (1", "a bracket is closed that was not opened"),
        ("(select 1) = 1", "it holds a query of its own"),
        ("exists (select 1 from sqlite_master)", "it holds a query of its own"),
        ("session in (select session from session)", "it holds a query of its own"),
        ("1 in (with recursive t(x) as (values (1) union all select x from t) select x from t)", "a query of its own"),
        ("session in sqlite_master", "sqlite_master.type is not to be read"),
        ("session in pragma_database_list", "it does more than read a session's columns"),
        ("rowid = 1", "ROWID is not to be read"),
        ("load_extension('x') = 1", "'load_extension' is none of abs"),
        ("random() > 0", "'random' is none of"),
        ("date('now') > opened_at", "'date' is none of"),
        ("length(zeroblob(1000000000)) > 1", "'zeroblob' is none of"),
        ("readfile('/etc/passwd') is not null", "no such function: readfile"),
        ("count(*) > 1", "'count' is none of"),
        ("max(cycles) > 4", "misuse of aggregate"),
        ("sum(cycles) over () > 1", "'sum' is none of"),
        ("cycles = ?", "'?' has no place in it"),
        ("cycles = :cycles", "':' has no place in it"),
        ("attach 'x' as y", "syntax error"),
        ("raise(abort, 'x')", "RAISE"),
        ("1 = 1" + " and 1 = 1" * LONGEST, "characters, at most 1000 are read"),
    ],
)
def test_what_is_no_such_expression_is_refused_and_says_why(expression: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        Where(expression)
    assert said in str(refused.value)
    assert all(name in str(refused.value) for name in COLUMNS)
    assert str(refused.value).endswith("Nothing was learnt")


@given(st.text(string.printable + "é\0", max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_it_chooses_among_the_rows_or_is_refused(expression: str) -> None:
    with suppress(UsageError):
        assert Where(expression).choose(ROWS) <= {"a", "b"}


def test_sessions_are_chosen_by_what_the_log_says_of_them(local: Local) -> None:
    for number in range(3):
        local.run(f"line-{number}", LINE, seed=number, cycles=4 + 6 * number)
    local.run("other", OTHER, cycles=5)
    ended = {
        f"line-{number}": sum(
            isinstance(one.event, learn.Rewarded) and one.event.ends_episode
            for one in local.events(f"line-{number}", "learn.rewarded")
        )
        for number in range(3)
    }
    assert len({*ended.values()}) > 1, "their lengths differ, and so do their episodes"

    def names(where: str, scenario: str | None = None) -> list[str]:
        return [one.stream.removeprefix(PREFIX) for one in sources(local.log, scenario=scenario, where=where)]

    assert names("scenario = 'line'") == ["line-0", "line-1", "line-2"]
    assert names("scenario = 'other'") == ["other"]
    assert names("seed = 1 and environment like '%Line%'") == ["line-1"]
    most = max(ended.values())
    assert names(f"episodes = {most}", "line") == [name for name, count in ended.items() if count == most]
    assert names("outcome = 'cycles' and cycles < 10", "line") == ["line-0"]
    assert names("opened_at > '2020' and reward is not null and successes >= 0", "line") == [*ended]
    assert [one.stream for one in sources(local.log, ["line-0", "line-2"], where="seed > 0")] == ["session/line-2"]
    with pytest.raises(NotFound, match=r"of 3 sessions of .* there is none with seed > 7"):
        names("seed > 7", "line")
    with pytest.raises(UsageError, match=r"of 2 worlds: .* --where SQL"):
        names("seed >= 0")


def test_a_person_is_no_column(local: Local) -> None:
    assert "person" in session.Opened.model_fields
    assert "person" not in COLUMNS


@pytest.mark.parametrize("asked", ["allows", "spends"])
def test_ctrl_c_in_the_midst_of_sqlites_questions_is_no_mistake_in_the_expression(asked: str) -> None:
    where = Where("cycles > 0")

    def land(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == asked:
            raise KeyboardInterrupt

    sys.setprofile(land)
    try:
        with pytest.raises(KeyboardInterrupt):
            where.choose(ROWS * 1000)
    finally:
        sys.setprofile(None)

"""Questions under a name: those that are shipped, and one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry.errors import InvalidQuery, QueryRefused
from telemetry.log import EventLog
from telemetry.query.engine import Engine
from telemetry.query.saved import read_saved, saved_in
from tests.in_turns import fill_in_turns, fill_with_shapes

GIVEN = {"timeline": {"session": "maze"}}


def test_every_shipped_query_says_what_it_tells_and_answers_over_recorded_sessions(log: EventLog) -> None:
    fill_in_turns(log)
    fill_with_shapes(log)
    with Engine(log) as engine:
        for name, saved in saved_in().items():
            assert saved.about.endswith("."), name
            assert all(parameter.meaning.endswith((".", "UTC.")) for parameter in saved.parameters), name
            with engine.ask(saved.sql, saved.values(GIVEN.get(name, {})), repeatable=True) as answer:
                assert answer.read().num_rows, name


def test_a_query_of_ones_own_stands_in_place_of_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "costs.sql").write_text("-- Mine.\nSELECT 1 AS mine\n", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no query", encoding="utf-8")
    found = saved_in(tmp_path)
    assert (found["costs"].about, found["effects"].name) == ("Mine.", "effects")
    assert "notes" not in found


def test_values_are_read_by_their_types_and_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    file = tmp_path / "all.sql"
    file.write_text(
        "-- All types.\n"
        "-- $a text: A.\n-- $b int = 3: B.\n-- $c double = null: C.\n-- $d bool = true: D.\n-- $e time: E.\n"
        "SELECT $a, $b, $c, $d, $e",
        encoding="utf-8",
    )
    saved = read_saved(file)
    values = saved.values({"a": "x = 'y'", "e": "2026-01-02T03:04:05+01:00", "d": "False"})
    assert str(values.pop("e")) == "2026-01-02 02:04:05"
    assert values == {"a": "x = 'y'", "b": 3, "c": None, "d": False}
    with pytest.raises(InvalidQuery, match=r"asks for \$e: E\."):
        saved.values({"a": "x"})
    with pytest.raises(InvalidQuery, match=r"\$b is of type int, and 'x' is not"):
        saved.values({"a": "", "e": "2026-01-02", "b": "x"})
    with pytest.raises(InvalidQuery, match=r"no parameter \$aa; did you mean 'a'"):
        saved.values({"aa": "1"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-- A.\nSELECT $a", r"\$a stands in the head or in the SQL, and not in the other"),
        ("-- A.\n-- $a text: A.\nSELECT 1", r"\$a stands in the head or in the SQL"),
        ("-- $a txt: A.\nSELECT $a", r"\$a is of no type 'txt'; did you mean 'text'\?"),
        ("-- $a int = x: A.\nSELECT $a", r"\$a is of type int, and 'x' is not"),
        ("-- $a\nSELECT $a", "a parameter is written"),
    ],
)
def test_a_query_that_cannot_be_meant_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.sql"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidQuery, match=said) as raised:
        read_saved(file)
    assert str(file) in str(raised.value) or "is of type" in str(raised.value)


def test_a_saved_query_only_reads_too(tmp_path: Path) -> None:
    (tmp_path / "evil.sql").write_text("-- A.\nCOPY events TO 'x'", encoding="utf-8")
    with pytest.raises(QueryRefused):
        saved_in(tmp_path)

"""`aether rerun` on a log: what it prints, in words and as JSON, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import open_log
from tests.aether import Aether
from tests.local import Local
from tests.reruns import count, line

ONES = ("ones", "refuse", "1")


@pytest.fixture(scope="module")
def recorded() -> Iterator[Aether]:
    """A log of two sessions that count and one in the plane; nobody writes it any more."""
    aether = Aether()
    aether.home.mkdir(parents=True)
    with closing(open_log(aether.log)) as log:
        local = Local(log)
        local.run("a", count(), seed=1, cycles=6)
        local.run("b", count(), seed=2, cycles=6)
        local.run("line", line(), cycles=20)
        local.close()
    yield aether
    aether.remove()


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.toml"
    path.write_text(count(ONES))
    return str(path)


def test_a_rerun_of_everything_with_its_own_policy_covers_it_and_writes_nothing(recorded: Aether) -> None:
    before = recorded.log.read_bytes()
    ran = recorded("rerun", "--all")
    assert (ran.code, ran.err) == (0, "")
    rows = [row.split() for row in ran.out.splitlines()]
    assert rows[0] == ["session", "cycles", "covered", "share", "before_first"]
    assert rows[1] == ["a", "6", "6", "100.0%", "6"]
    assert rows[-1][:2] == [str(total := int(rows[-1][0])), str(total)]
    assert recorded.log.read_bytes() == before


def test_differences_are_the_result_and_no_failure(recorded: Aether, rules: str) -> None:
    ran = recorded("rerun", "--scenario", "count", "--with", f"heart={rules}")
    assert ran.code == 0, ran.err
    assert "first differences" in ran.out
    assert ": heart: the rule ones holds back move 1; instead: move 0" in ran.out
    answered = recorded("rerun", "a", "b", "--with", f"heart={rules}", "--json")
    assert [row["session"] for row in answered.rows] == ["a", "b"]
    total, refused = answered.json["total"], 0
    for row in answered.rows:
        refused += row["counts"]["refused"]
        assert row["first"] == row["differences"][0]
        assert row["covered"] + len(row["differences"]) == row["cycles"] == 6
    assert (total["cycles"], total["refused"], total["same"]) == (12, refused, 12 - refused)
    assert (answered.json["policy"], answered.json["left_out"]) == ({"heart": rules}, [])
    assert (
        recorded("rerun", "a", "--with", f"heart={rules}", "--differences", "0", "--json").rows[0]["differences"] == []
    )


def test_another_world_model_is_told_by_its_surprise(recorded: Aether) -> None:
    ran = recorded("rerun", "a", "--with", "world_model=none")
    assert "surprise over 5 transitions: recorded " in ran.out
    assert ran.out.rstrip().endswith("; this policy nothing")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name the sessions to rerun"),
        (("a", "--all"), 2, "name the sessions to rerun"),
        (("a", "--with", "heart"), 2, "it takes ORGAN=WHAT"),
        (("a", "--with", "heart=none", "--with", "heart=none"), 2, "each organ once"),
        (("a", "--with", "heart=nowhere.toml"), 2, "there is no such file"),
        (("a", "--with", "reasoner=greedy"), 2, "this policy is not for session a"),
        (("c",), 3, "there is no session 'c'"),
        (("--scenario", "counts"), 3, "did you mean 'count'"),
    ],
)
def test_a_mistake_ends_with_its_code(recorded: Aether, arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = recorded("rerun", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err

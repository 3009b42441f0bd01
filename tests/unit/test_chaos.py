"""What a certificate says of a log and of a ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from loops.reasoners.language.settings import ModelDefaults
from runtime.chaos import judge
from runtime.chaos.certify import certify
from runtime.chaos.lives import fresh
from runtime.chaos.values import Certificate, ChaosOrder, Kills, Undisturbed, Verdict
from runtime.errors import UsageError
from runtime.scenario import parse_scenario
from runtime.settings import Settings
from telemetry.events import Draft, Event, Recorded, execute
from telemetry.events.values import EffectClass, Move
from telemetry.log import EventLog

KEY = "ab" * 32
FILES = """
name = "files"
environment = { id = "tools:", tools = { workspace = "PATH" } }
"""


def intended(effect_class: EffectClass) -> Event:
    return execute.Intended(effect=KEY, action=Move(to=1), arguments="cd" * 32, effect_class=effect_class)


def dispatched() -> Event:
    return execute.Dispatched(effect=KEY, executor="tests/1", deadline=0)


def succeeded() -> Event:
    return execute.Succeeded(effect=KEY)


def unknown() -> Event:
    return execute.UnknownOutcome(effect=KEY, why="nobody saw it")


def reconciled() -> Event:
    return execute.Reconciled(effect=KEY, cycle=1, happened=True, by="ada", why="it arrived")


def on(log: EventLog, *events: Event) -> list[Recorded]:
    drafts = [Draft(event=event, command=f"c{i}") for i, event in enumerate(events)]
    return list(log.append("session/x", drafts, expected_version=0, epoch=1))


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ((intended("keyed"), dispatched(), succeeded()), (0, 0, 0)),
        ((intended("keyed"), dispatched(), succeeded(), succeeded()), (1, 0, 0)),
        ((intended("keyed"), dispatched()), (0, 1, 0)),
        ((intended("keyed"), dispatched(), dispatched(), succeeded()), (0, 0, 0)),
        ((intended("unsafe"), dispatched(), dispatched(), succeeded()), (1, 0, 0)),
        ((intended("unsafe"), dispatched(), unknown()), (0, 0, 1)),
        ((intended("unsafe"), dispatched(), unknown(), reconciled()), (0, 0, 0)),
    ],
    ids=["once", "two outcomes", "no outcome", "keyed again", "unsafe again", "unknown", "found out"],
)
def test_each_intent_has_one_outcome_and_goes_out_again_only_where_its_class_allows_it(
    log: EventLog, events: tuple[Event, ...], counts: tuple[int, int, int]
) -> None:
    seen = judge.effects(on(log, *events))
    assert (len(seen.found.twice), len(seen.found.lost), seen.unknown) == counts


def test_an_acknowledged_event_is_lost_when_it_is_gone_or_stands_there_with_another_hash(log: EventLog) -> None:
    events = on(log, intended("keyed"), dispatched(), succeeded())
    told = [(r.stream, r.version, r.hash.hex()) for r in events]
    assert judge.lost_events(told, events) == ()
    (gone,) = judge.lost_events(told, events[:2])
    assert gone == "session/x@3 was acknowledged and is not on the log"
    (other,) = judge.lost_events(told, [events[0], replace(events[1], hash=b"0" * 32), events[2]])
    assert other == "session/x@2 was acknowledged and is another event now"


def test_a_ledger_with_more_of_a_line_shows_a_repeat_and_with_fewer_a_loss() -> None:
    found = judge.ledger(Counter({"pay": 1, "post": 2}), Counter({"pay": 3, "post": 1}), unknown=0)
    assert (len(found.twice), len(found.lost)) == (2, 1)


def test_a_missing_line_is_no_loss_where_the_session_tells_that_an_outcome_is_unknown() -> None:
    undisturbed = Counter({"post": 2})
    assert judge.ledger(undisturbed, Counter({"post": 1}), unknown=1).lost == ()
    assert len(judge.ledger(undisturbed, Counter(), unknown=1).lost) == 1


def test_an_unknown_outcome_that_is_told_leaves_a_certificate_clean_and_anything_else_does_not() -> None:
    whole = Undisturbed(status="closed", outcome="done", cycles=1, state_hash="0" * 64, boundaries=2, tried=1)

    def clean(verdict: Verdict) -> bool:
        return Certificate(scenario="x", seed=0, undisturbed=whole, verdicts=(verdict,)).clean

    assert clean(Verdict(boundary=1, killed=True, unknown=1))
    assert not clean(Verdict(boundary=1, killed=False)), "nothing was killed, so nothing is shown"
    for name in ("acknowledged_lost", "effects_twice", "effects_lost", "differs"):
        assert not clean(Verdict.model_validate({"boundary": 1, "killed": True, name: 1})), name


def test_a_certificate_is_clean_only_when_the_kills_through_ray_are_too() -> None:
    whole = Undisturbed(status="closed", outcome="done", cycles=1, state_hash="0" * 64, boundaries=2, tried=1)
    good, bad = Verdict(boundary=1, killed=True), Verdict(boundary=1, killed=True, effects_twice=1)
    for verdict, clean in ((good, True), (bad, False)):
        ray = Kills(undisturbed=whole, verdicts=(verdict,))
        assert Certificate(scenario="x", seed=0, undisturbed=whole, verdicts=(good,), ray=ray).clean == clean


def test_each_kill_begins_in_an_empty_world_with_a_copy_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("as it was")
    order = ChaosOrder(
        scenario_text=FILES.replace("PATH", "notes"),
        source="scenario",
        seed=0,
        cycles=None,
        sample=None,
        ray=0,
        ledger=None,
        models=ModelDefaults(),
        folder=str(tmp_path),
        world=tmp_path / "world",
    )
    for _ in range(2):
        fresh(order)
        assert [path.name for path in order.world.rglob("*")] == ["notes", "a.txt"]
        (order.world / "notes" / "a.txt").write_text("changed")
        (order.world / "left.txt").touch()
    assert (tmp_path / "notes" / "a.txt").read_text() == "as it was"


@pytest.mark.parametrize("path", ["/var/notes", "~/notes", "../notes"])
def test_a_workspace_that_kills_would_share_is_refused(path: str) -> None:
    file = parse_scenario(FILES.replace("PATH", path), source="scenario")
    with pytest.raises(UsageError, match="each kill needs a copy of its own"):
        certify(file, Settings(), source="scenario", watch=lambda _done, _of: None)

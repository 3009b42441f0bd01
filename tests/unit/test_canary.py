"""A model that goes first to some sessions, held against the others: on logs of real sessions by two real models."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.entry import entered
from runtime.learning.judging.sequential import Design
from runtime.learning.scheduled.canary import Flight, flight_of, sent, settle
from runtime.models.registry.store import Registry
from runtime.models.registry.succession import succession
from runtime.scenario import ScenarioFile, parse_scenario
from telemetry.events import Draft, learn
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog, open_log
from tests.local import Local
from tests.taught import DECIDED
from tests.trained import line, linear

FRAMES, EPISODES = 40, 4
DESIGN = Design(looks=(4, 8))
BASE = "greedy@0123456789ab"


class Two(NamedTuple):
    """Two models of one name that see the same, and where they lie."""

    canary: ModelId
    incumbent: ModelId
    folders: tuple[Path, Path]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    home = tmp_path_factory.mktemp("canary")
    one, other = (linear(home / str(seed), seed=seed) for seed in (0, 1))
    return Two(one, other, (home / "0", home / "1"))


def lives(model: Path, *, plans: bool, episodes: int = EPISODES) -> str:
    """Sessions that find their way, or that wander, by a model."""
    text = line(model, reasoner="greedy" if plans else "explore", frames=FRAMES)
    return text.replace("episodes = 9", f"episodes = {episodes}")


def send(log: EventLog, model: ModelId, incumbent: ModelId, *, run: str = "1") -> EventId:
    said = learn.ModelPromoted(model=model, incumbent=incumbent, figures={}, share=0.3)
    return entered(log, said, refs=(), run=run)


def file_of(model: Path) -> ScenarioFile:
    return parse_scenario(f"{lives(model, plans=True)}\n[learning]\nmodel = 'tiny'\npairs = [4, 8]\n", source="s")


def flown(local: Local, model: Path) -> Flight:
    flight = flight_of(local.log, file_of(model), "tiny")
    assert flight is not None
    flight.follow(local.log)
    return flight


@pytest.mark.parametrize(("plans", "decision"), [(True, "promote"), (False, "reject")])
def test_a_canary_that_acts_better_goes_to_all_and_one_that_acts_worse_is_taken_back(
    local: Local, two: Two, tmp_path: Path, plans: bool, decision: str
) -> None:
    canary, incumbent, folders = two
    event = send(local.log, canary, incumbent)
    for number in range(2):
        local.run(f"canary-{number}", lives(folders[0], plans=plans), seed=number)
        local.run(f"other-{number}", lives(folders[1], plans=not plans), seed=number)
    flight = flown(local, folders[0])
    assert sum(ours for ours, _ in flight.ended) == len(flight.ended) / 2 == 2 * EPISODES
    judgement = flight.judge(DESIGN)
    assert judgement.decision == decision
    local.log.close()  # so that it can be entered, as by a command
    said = settle(flight, judgement, url=local.log.url, registry=Registry(folder=tmp_path / "models"))
    assert said is not None
    with closing(open_log(local.log.url, mode="read")) as log:
        last = next(log.read_back("model/tiny"))
        stands = succession(log, "tiny")
        assert sent(log, "tiny", base=BASE) is None
    assert (last.id, event in last.refs) == (said, True)
    assert stands.canary is None
    assert stands.standing == (canary if plans else incumbent)


def test_while_nothing_is_decided_nothing_is_entered(local: Local, two: Two) -> None:
    send(local.log, two.canary, two.incumbent)
    local.run("canary", lives(two.folders[0], plans=True, episodes=1))
    flight = flown(local, two.folders[0])
    judgement = flight.judge(DESIGN)
    assert judgement.decision == "go_on"
    assert settle(flight, judgement, url=local.log.url, registry=Registry(folder=Path("nowhere"))) is None


def test_an_episode_that_began_before_the_canary_was_sent_counts_for_nobody(local: Local, two: Two) -> None:
    canary, incumbent, folders = two
    text = lives(folders[1], plans=False, episodes=2)
    local.run("early", text, cycles=3)
    local.run("astride", text, stop=_after(2), seed=5)
    send(local.log, canary, incumbent)
    local.run("astride", text, seed=5)
    ended = [r for r in local.events("astride", "learn.rewarded") if getattr(r.event, "ends_episode", False)]
    assert len(ended) == 2
    assert [ours for ours, _ in flown(local, folders[0]).ended] == [False]


def test_an_episode_in_which_a_session_adopted_the_canary_counts_for_nobody(local: Local, two: Two) -> None:
    canary, incumbent, folders = two
    send(local.log, canary, incumbent)
    text = lives(folders[1], plans=False, episodes=2)
    local.run("changes", text, stop=_after(3))
    local.append("changes", Draft(event=learn.ModelAdopted(model=canary, before=incumbent, why="c"), command="a"))
    first, *_ = _finished(local, "changes", ends=2)
    flight = flown(local, folders[0])
    assert [ours for ours, _ in flight.ended] == [True]
    assert first < flight.position


def test_a_flight_that_follows_bit_by_bit_is_one_that_reads_all_at_once(local: Local, two: Two) -> None:
    send(local.log, two.canary, two.incumbent)
    bits = flight_of(local.log, file_of(two.folders[0]), "tiny")
    assert bits is not None
    for number in range(2):
        for who, folder in enumerate(two.folders):
            local.run(f"{who}-{number}", lives(folder, plans=False, episodes=2), seed=number)
            bits.follow(local.log)
    assert bits.ended == flown(local, two.folders[0]).ended
    assert len(bits.ended) == 8


def test_evaluations_and_other_scenarios_count_for_nobody(local: Local, two: Two) -> None:
    send(local.log, two.canary, two.incumbent)
    local.run("other", lives(two.folders[0], plans=False, episodes=1).replace('name = "line"', 'name = "else"'))
    assert flown(local, two.folders[0]).ended == []


def _after(cycles: int) -> Callable[[], bool]:
    """Lets a session rest after so many cycles."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= cycles

    return stop


def _finished(local: Local, name: str, *, ends: int) -> list[int]:
    """Appends what ends so many episodes to a session that rests, and returns the positions."""
    found = []
    for number in range(ends):
        for place in range(3):
            event = (
                DECIDED if place < 2 else learn.Rewarded(reward=1, episode_return=1, success=True, ends_episode=True)
            )
            found.append(local.append(name, Draft(event=event, command=f"end.{number}.{place}")).position)
    return found

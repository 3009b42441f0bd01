"""A running fleet that learns by itself: trained, judged and decided beside its sessions, one training at a time."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from runtime.learning.scheduled.alone import Alone
from telemetry.events import Recorded
from telemetry.log import open_log
from tests.aether import Aether, Ran, wait_until

SCENARIO = """\
name = "umaze"
seed = 5
sessions = {sessions}
[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 100
episodes = 100000
[reasoner]
kind = "explore"
planning = {{ horizon = 4, candidates = 16, iterations = 2, elites = 4 }}
[memory]
recall = 0
[learning]
kind = "linear"
pairs = [12]
schedule = {{ episodes = 16 }}
"""
SESSIONS = 4
WORDS = ("learn.model_trained", "learn.model_evaluated", "learn.model_promoted", "learn.model_rejected")
DECIDED = re.compile(r"learning: umaze@\w+ is (promoted|rejected)")
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Learnt:
    """What stood on the log when the run had decided once and went on, and how the command ended."""

    aether: Aether
    verdict: Recorded
    """The first, which the sessions had time to act on."""
    words: list[Recorded]
    events: list[Recorded]
    alone: bool
    holder: str
    shown: str
    ended: Ran


@pytest.fixture(scope="module")
def learnt() -> Iterator[Learnt]:
    """A run that is ended by Ctrl-C when a verdict is out and its sessions have gone on."""
    aether = Aether()
    file = aether.folder / "umaze.toml"
    file.write_text(SCENARIO.format(sessions=SESSIONS))
    with aether.start("run", str(file), terminal=True) as started:
        wait_until(lambda: DECIDED.search(plain(started.shown())) is not None, timeout_s=PATIENCE_S, what="a verdict")
        lock = Alone(aether.home / "training")
        alone, holder = lock.held(), lock.holder()
        verdict = decided(aether)
        wait_until(lambda: gone_on(aether, verdict), timeout_s=PATIENCE_S, what="the sessions go on by the verdict")
        shown = plain(started.shown())
        started.signal_group(signal.SIGINT)
        ended = started.end()
    with closing(open_log(aether.log, mode="read")) as log:
        words, events = list(log.read("model/umaze", types=WORDS)), list(log.read_all(types=KINDS))
    yield Learnt(aether, verdict, words, events, alone, holder, shown, ended)
    aether.remove()


KINDS = ("session.opened", "session.cycle_opened", "session.cycle_closed", "learn.model_adopted", *WORDS)


def plain(shown: str) -> str:
    """Without the codes that colour a terminal, which may stand within an id."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


def decided(aether: Aether) -> Recorded:
    """The first verdict on the log."""
    with closing(open_log(aether.log, mode="read")) as log:
        return next(log.read("model/umaze", types=WORDS[2:]))


def gone_on(aether: Aether, verdict: Recorded) -> bool:
    """Whether some cycles were closed since, and each session acts by what was promoted: the host hears of that beside
    its sessions, which close cycles meanwhile."""
    with closing(open_log(aether.log, mode="read")) as log:
        since = Counter(r.type for r in log.read_all(after=verdict.position, types=KINDS))
    adopting = SESSIONS if verdict.type == "learn.model_promoted" else 0
    return since["session.cycle_closed"] >= 6 and since["learn.model_adopted"] >= adopting


def test_a_training_happens_during_the_run_and_a_verdict_is_on_the_log(learnt: Learnt) -> None:
    assert learnt.ended.code == 130, learnt.ended.out
    assert [word.type for word in learnt.words[:2]] == ["learn.model_trained", "learn.model_evaluated"]
    trained = learnt.words[0]
    assert any(word.type in WORDS[2:] for word in learnt.words)
    live = live_sessions(learnt)
    assert len(live) == SESSIONS
    assert trained.event.model_dump()["config"]["scenarios"] == ["umaze"]
    for stream in live:
        cycles = [r.position for r in learnt.events if r.stream == stream and r.type == "session.cycle_closed"]
        assert min(cycles) < trained.position < max(cycles), "a session waited for the training"


def test_of_trainings_there_is_one_at_a_time_and_each_is_decided_before_the_next(learnt: Learnt) -> None:
    assert not learnt.alone
    assert learnt.holder.startswith("pid ")
    open_model = None
    for word in learnt.words:
        model = word.event.model_dump()["model"]
        if word.type == "learn.model_trained":
            assert open_model is None
            open_model = model
        else:
            assert open_model == model
            open_model = model if word.type == "learn.model_evaluated" else None


def test_what_is_promoted_sessions_adopt_between_two_cycles(learnt: Learnt) -> None:
    promoted = [word for word in learnt.words if word.type == "learn.model_promoted"]
    adopted = [recorded for recorded in learnt.events if recorded.type == "learn.model_adopted"]
    by = {(one.stream, one.event.model_dump()["model"]) for one in adopted}
    assert {model for _, model in by} <= {word.event.model_dump()["model"] for word in promoted}
    if learnt.verdict in promoted:
        model = learnt.verdict.event.model_dump()["model"]
        assert {(stream, model) for stream in live_sessions(learnt)} <= by
    for one in adopted:
        of = [r for r in learnt.events if r.stream == one.stream and r.type.startswith("session.cycle_")]
        assert [r for r in of if r.version < one.version][-1].type == "session.cycle_closed"
        assert all(r.type == "session.cycle_opened" for r in [r for r in of if r.version > one.version][:1])
    assert not {one.stream for one in adopted} - set(live_sessions(learnt))


def test_the_status_line_says_what_is_learnt(learnt: Learnt) -> None:
    said = re.search(
        r"learning: umaze is trained: (\d+) episodes ended since the last .*; 16 are asked for", learnt.shown
    )
    assert said is not None
    assert int(said[1]) >= 16
    assert "learning: judging umaze@" in learnt.shown


def live_sessions(learnt: Learnt) -> list[str]:
    opened = [r for r in learnt.events if r.type == "session.opened"]
    return [r.stream for r in opened if r.event.model_dump()["purpose"] is None]

"""Forks of real sessions: where they may be cut, how they go on, and what they remember."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from loops.journal import Journal
from memory.project import EpisodeProjection
from runtime.errors import NotFound, UsageError
from runtime.fork import SEARCHED, cut_before, fork
from runtime.hosting.recall import HostMemory
from runtime.replay import replay
from runtime.sessions import opened, row_of
from telemetry.errors import LogUnwritable
from telemetry.events import Draft, Recorded, sense, session
from telemetry.events.envelope import split_id
from telemetry.events.feel import Felt
from telemetry.events.learn import Forgotten, Remembered
from telemetry.events.values import Array, Episode
from telemetry.log import EventLog
from tests.local import Local, folded

NULL = """
name = "null"
environment = { id = "null:" }
memory = { recall = 0 }
"""
LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 3 }
reasoner = { hold = 1 }
memory = { when = "always", recall = 3 }
"""
SOON_S = 120.0


@pytest.fixture
def parent(local: Local) -> Local:
    """A session `p` of five cycles that was closed."""
    local.run("p", NULL, cycles=5)
    return local


def cuts(local: Local, name: str = "p") -> list[int]:
    return [1, *(recorded.version for recorded in local.events(name, "session.cycle_closed"))]


def state_hash(local: Local, name: str) -> str | None:
    head = local.log.head(f"session/{name}")
    assert head is not None
    return row_of(local.log, head).state_hash


# --- where a session may be cut ------------------------------------------------------------------


def test_a_session_is_forked_at_any_closed_cycle_and_before_its_first(parent: Local) -> None:
    for at in cuts(parent):
        child = fork(parent.log, "p", at=at)
        *shared, own = parent.events(child)
        assert shared == parent.events("p")[:at]
        assert own.event == session.Forked(parent="session/p", at_version=at, at_hash=shared[-1].hash.hex())
        assert (own.version, own.epoch, own.cause) == (at + 1, 1, f"session/p@{at}")
        assert folded(parent.events(child)) == folded(shared)
        assert opened(parent.log, f"session/{child}") == opened(parent.log, "session/p")
    assert parent.log.verify().ok


def test_any_other_version_is_refused_with_the_nearest(parent: Local) -> None:
    valid, last = cuts(parent), parent.events("p")[-1].version
    before = parent.log.position()
    for at in set(range(-1, last + 3)) - set(valid):
        below, above = max((v for v in valid if v <= at), default=1), min((v for v in valid if v > at), default=None)
        near = f"version {below}" if above is None else f"version {below} or {above}"
        if at < 1:
            near = "version 1 or "
        with pytest.raises(UsageError, match=f"cannot be forked at version {at}: .* The nearest: {near}"):
            fork(parent.log, "p", at=at)
    assert parent.log.position() == before, "nothing was written"


def test_the_nearest_is_looked_for_no_further_than_a_long_cycle_reaches(parent: Local) -> None:
    (opened,) = parent.log.read("session/p", to=1)
    closed = next(parent.log.read("session/p", types=("session.cycle_closed",)))
    assert isinstance(opened.event, session.Opened)
    assert isinstance(closed.event, session.CycleClosed)
    asked = Felt(valence=0, arousal=0)
    drafts = [Draft(event=asked, command="felt", ordinal=n) for n in range(SEARCHED + 10)]
    drafts = [Draft(event=opened.event, command="open"), *drafts, Draft(event=closed.event, command="close")]
    parent.log.append("session/q", drafts, expected_version=0, epoch=1)
    last = len(drafts)
    for at, near in (
        (3, "version 1; try: aether session fork q --at 1"),
        (SEARCHED + 5, f"version {last}; try: aether session fork q --at {last}"),
        (last + 9, f"version {last}; try"),
    ):
        with pytest.raises(UsageError, match=f"The nearest: {near}"):
            fork(parent.log, "q", at=at)
    assert cut_before(parent.log, "q", last - 1) == 1, "who needs the nearest below gets it, however far"


def test_the_nearest_cut_is_found_below_any_version(parent: Local) -> None:
    valid = cuts(parent)
    for version in range(1, parent.events("p")[-1].version + 3):
        assert cut_before(parent.log, "p", version) == max(v for v in valid if v <= version)
    with pytest.raises(UsageError):
        cut_before(parent.log, "p", 0)


def test_a_fork_is_cut_in_what_it_shares_and_in_what_is_its_own(parent: Local) -> None:
    valid = cuts(parent)
    fork(parent.log, "p", at=valid[3], new="f")
    assert cut_before(parent.log, "f", valid[3] + 1) == valid[3], "its own beginning is none"
    parent.run("f", NULL)
    assert cuts(parent, "f")[:4] == valid[:4]
    grandchild = fork(parent.log, "f", at=cuts(parent, "f")[4])
    cousin = fork(parent.log, "f", at=valid[1])
    assert {recorded.stream for recorded in parent.events(grandchild)} == {
        "session/p",
        "session/f",
        f"session/{grandchild}",
    }
    assert {recorded.stream for recorded in parent.events(cousin)} == {"session/p", f"session/{cousin}"}


@pytest.mark.parametrize("name", ["q", "session/q"])
def test_a_session_that_is_not_there_is_not_forked(parent: Local, name: str) -> None:
    with pytest.raises(NotFound, match="'q'"):
        fork(parent.log, name, at=1)
    with pytest.raises(NotFound, match="'q'"):
        cut_before(parent.log, name, 1)


def test_the_same_fork_again_is_the_same_session_and_another_one_of_its_name_is_refused(parent: Local) -> None:
    _, first, second, *_ = cuts(parent)
    assert fork(parent.log, "p", at=first, new="f") == fork(parent.log, "session/p", at=first, new="session/f") == "f"
    position = parent.log.position()
    for at, name in ((second, "f"), (first, "p")):
        with pytest.raises(UsageError, match="already"):
            fork(parent.log, "p", at=at, new=name)
    assert parent.log.position() == position


def test_a_fork_writes_one_event_however_long_the_parent_is(parent: Local) -> None:
    sizes = set()
    for at in cuts(parent)[1:]:
        before = parent.log.position()
        fork(parent.log, "p", at=at)
        (row,) = parent.log.read_all(after=before)
        sizes.add(len(row.payload) - len(str(at)))
    assert len(sizes) == 1


# --- how a fork goes on --------------------------------------------------------------------------


def test_a_fork_rests_until_it_is_resumed_and_then_ends_as_its_parent_did(parent: Local) -> None:
    for at in cuts(parent):
        child = fork(parent.log, "p", at=at)
        head = parent.log.head(f"session/{child}")
        assert head is not None
        row = row_of(parent.log, head)
        assert (row.status, row.version, row.scenario) == ("suspended", at + 1, "null")
        ended = parent.run(child, NULL)
        assert (ended.status, ended.cycles, ended.state_hash) == ("closed", 5, state_hash(parent, "p"))
        assert replay(parent.log, child).differs_at is None
        resumed = parent.events(child, "session.resumed")[-1]
        assert isinstance(resumed.event, session.Resumed)
        assert (resumed.event.after, resumed.epoch) == ("suspended", 2)
    assert parent.log.verify().ok


def test_a_fork_of_an_often_resumed_session_has_epochs_of_its_own(local: Local) -> None:
    for _ in range(3):
        local.run("p", NULL, cycles=9, stop=iter([False, True]).__next__)
    at = cuts(local)[-1]
    assert local.events("p")[at - 1].epoch == 3
    fork(local.log, "p", at=at, new="f")

    async def stall(error: LogUnwritable) -> None:
        raise error

    journal = Journal(local.log, "session/f", stall=stall)
    journal.load()
    assert (journal.version, journal.committed, journal.epoch, journal.last_type) == (
        at + 1,
        at + 1,
        1,
        "session.forked",
    )
    assert local.run("f", NULL).status == "closed"
    assert local.run("p", NULL).status == "closed", "the parent goes on as if it had never been forked"
    assert state_hash(local, "f") == state_hash(local, "p")


# --- what a fork remembers -----------------------------------------------------------------------


@pytest.fixture
def memory(local: Local, tmp_path: Path) -> Iterator[HostMemory]:
    with closing(HostMemory(EpisodeProjection(local.log, folder=tmp_path / "memory"))) as opened_memory:
        yield opened_memory


def remembered(recorded: Recorded) -> list[tuple[str, int]]:
    assert isinstance(recorded.event, sense.Recalled)
    return [split_id(hit.event) for hit in recorded.event.hits]


def test_a_fork_recalls_what_it_shares_and_what_it_lived_and_never_its_parents_future(
    local: Local, memory: HostMemory
) -> None:
    local.run("p", LINE, memory=memory)
    at = cuts(local)[6]  # in the middle of the second episode, which is stepped again for the fork
    fork(local.log, "p", at=at, new="f")
    ended = local.run("f", LINE, memory=memory)
    own = [r for r in local.events("f", "sense.recalled") if r.stream == "session/f"]
    recalled = {place for recorded in own for place in remembered(recorded)}
    assert {stream for stream, _ in recalled} == {"session/p", "session/f"}
    assert max(version for stream, version in recalled if stream == "session/p") <= at
    assert (ended.status, ended.error, ended.state_hash) == ("closed", None, state_hash(local, "p"))


def test_a_fork_of_a_fork_recalls_all_its_ancestors_up_to_where_each_was_left(log: EventLog, tmp_path: Path) -> None:
    def live(stream: str, *xs: float) -> None:
        head = log.head(stream)
        version = 0 if head is None else head.version
        episode = Episode(observation="0" * 64, why="always")
        drafts = [
            Draft(
                event=Remembered(episode=episode, vector=Array.of([x, 0.0], dtype="float32"), embedder="vector-2@1"),
                command=f"{version}",
                ordinal=ordinal,
            )
            for ordinal, x in enumerate(xs)
        ]
        log.append(stream, drafts, expected_version=version, epoch=1)

    def part(parent: str, at: int, stream: str) -> None:
        (cut,) = log.read(parent, after=at - 1, to=at)
        forked = session.Forked(parent=parent, at_version=at, at_hash=cut.hash.hex())
        log.append(stream, [Draft(event=forked, command="fork")], expected_version=at, epoch=1)

    live("a", 1, 2, 3)
    part("a", 2, "b")
    live("b", 4, 5)
    part("b", 4, "c")
    live("c", 6)
    log.append("c", [Draft(event=Forgotten(memory="a@1", why="w"), command="f")], expected_version=6, epoch=1)
    with EpisodeProjection(log, folder=tmp_path / "memory") as projection:

        def found(stream: str, version: int) -> list[str]:
            hits = projection.recall(
                np.zeros(2, np.float32),
                embedder="vector-2@1",
                k=9,
                lineage=projection.lineage(stream, version),
                position=log.position(),
                timeout_s=SOON_S,
            )
            return [hit.event for hit in hits]

        assert found("a", 3) == ["a@1", "a@2", "a@3"]
        assert found("b", 5) == ["a@1", "a@2", "b@4", "b@5"]
        assert found("c", 6) == ["a@1", "a@2", "b@4", "c@6"]
        assert found("c", 7) == ["a@2", "b@4", "c@6"], "what a fork forgot, only it forgot"
        assert found("c", 1) == ["a@1"]

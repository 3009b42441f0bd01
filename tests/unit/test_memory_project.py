"""The projection on a real log: it keeps up, resumes, rebuilds, and says when it cannot."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memory.edge import EdgeIndex, Lineage
from memory.embed import TextEmbedder
from memory.errors import IndexHeld, ProjectionFailed, RecallLate
from memory.project import EpisodeProjection
from telemetry.events.envelope import Draft, Recorded
from telemetry.events.learn import Forgotten, Remembered, Rewarded
from telemetry.events.values import Array, Episode, Hit
from telemetry.log import EventLog, open_log
from telemetry.otel.record import event_of, record_of
from tests.contract.test_payloads_withheld import take

REPOSITORY = Path(__file__).parents[2]
EMBEDDER = "vector-2@1"
SOON_S = 120.0


def remembered(x: float, *, embedder: str = EMBEDDER) -> Remembered:
    vector = Array.of([x, 0.0], dtype="float32")
    return Remembered(episode=Episode(observation="0" * 64, why="always"), vector=vector, embedder=embedder)


def write(log: EventLog, stream: str, *xs: float | None) -> tuple[Recorded, ...]:
    """Appends an episode at each x; None stands for an event that is no episode."""
    head = log.head(stream)
    version = 0 if head is None else head.version
    drafts = [
        Draft(
            event=Rewarded(reward=1.0, episode_return=1.0) if x is None else remembered(x),
            command=f"command-{version}",
            ordinal=ordinal,
        )
        for ordinal, x in enumerate(xs)
    ]
    return log.append(stream, drafts, expected_version=version, epoch=1)


def forget(log: EventLog, stream: str, *memories: str) -> None:
    """Appends to `stream` that it forgot `memories`."""
    head = log.head(stream)
    version = 0 if head is None else head.version
    for memory in memories:
        draft = Draft(event=Forgotten(memory=memory, why="it was wrong"), command=f"forget-{version}")
        log.append(stream, [draft], expected_version=version, epoch=1)
        version += 1


def recall(memory: EpisodeProjection, log: EventLog, *, stream: str = "session/a", to: int = 10**6) -> list[str]:
    """Everything of the stream up to version `to`, nearest to 0 first."""
    hits: tuple[Hit, ...] = memory.recall(
        np.zeros(2, np.float32),
        embedder=EMBEDDER,
        k=1000,
        lineage=[(stream, to)],
        position=log.position(),
        timeout_s=SOON_S,
    )
    return [hit.event for hit in hits]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = open_log(tmp_path / "log.db")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "memory"


def saved(folder: Path) -> dict[str, object]:
    content = json.loads((folder / "cursor.json").read_text())
    assert isinstance(content, dict)
    return content


def test_what_was_appended_can_be_recalled_as_soon_as_its_position_is_awaited(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        for version in range(1, 21):
            write(log, "session/a", float(version))
            assert len(recall(memory, log)) == version
        assert recall(memory, log)[:3] == ["session/a@1", "session/a@2", "session/a@3"]


def test_a_position_is_reached_past_events_that_are_no_episodes(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        write(log, "session/a", 1.0, None, None, None)
        memory.wait(4, timeout_s=SOON_S)
        assert memory.position == 4
        assert recall(memory, log) == ["session/a@1"]


def test_recall_of_an_earlier_version_is_the_same_however_much_came_later(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        write(log, "session/a", 3.0, 2.0, 1.0)
        then = recall(memory, log, to=3)
        write(log, "session/a", 0.5, 0.1)
        write(log, "session/b", 0.0)
        assert recall(memory, log, to=3) == then == ["session/a@3", "session/a@2", "session/a@1"]


def test_it_goes_on_where_it_stopped(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        write(log, "session/a", 1.0, None)
        memory.wait(2, timeout_s=SOON_S)
    assert saved(folder) == {
        "log": log.id,
        "position": 2,
        "points": {EMBEDDER: 1},
        "withheld": 0,
        "forgotten": {},
    }
    write(log, "session/a", 2.0)
    with EpisodeProjection(log, folder=folder) as memory:
        assert memory.position >= 2
        assert recall(memory, log) == ["session/a@1", "session/a@3"]


def test_what_is_withheld_is_passed_over_and_the_index_made_anew_when_it_has_come(
    log: EventLog, folder: Path, tmp_path: Path
) -> None:
    with closing(open_log(tmp_path / "whole.db")) as whole:
        write(whole, "session/a", 1.0, None, 2.0)
        take(log, (event_of(record_of(event, detail="digest")) for event in whole.read_all()))
        write(log, "session/b", 3.0)
        for _ in range(2):
            with EpisodeProjection(log, folder=folder) as memory:
                assert (recall(memory, log), recall(memory, log, stream="session/b")) == ([], ["session/b@1"])
            assert saved(folder)["withheld"] == 2
        take(log, whole.read_all())
    with EpisodeProjection(log, folder=folder) as memory:
        assert recall(memory, log) == ["session/a@1", "session/a@3"]
        assert recall(memory, log, stream="session/b") == ["session/b@1"]
    assert saved(folder)["withheld"] == 0


@pytest.mark.parametrize("damage", ["no cursor", "no json", "another log", "ahead", "shard gone", "shard damaged"])
def test_an_index_that_cannot_be_trusted_is_rebuilt_from_the_log(log: EventLog, folder: Path, damage: str) -> None:
    write(log, "session/a", 1.0, 2.0, 3.0)
    with EpisodeProjection(log, folder=folder) as memory:
        whole = recall(memory, log)
    cursor = folder / "cursor.json"
    content = saved(folder)
    if damage == "no cursor":
        cursor.unlink()
    elif damage == "no json":
        cursor.write_text('{"log": ')
    elif damage == "another log":
        cursor.write_text(json.dumps(content | {"log": "another"}))
    elif damage == "ahead":
        cursor.write_text(json.dumps(content | {"position": 4}))
    elif damage == "shard gone":
        index = EdgeIndex(folder)
        index.clear()
        index.close()
    else:
        next(folder.rglob("edge_config.json")).write_text("no json")
    with EpisodeProjection(log, folder=folder) as memory:
        assert recall(memory, log) == whole == ["session/a@1", "session/a@2", "session/a@3"]


def test_points_of_another_log_do_not_survive_even_where_positions_would_fit(
    tmp_path: Path, log: EventLog, folder: Path
) -> None:
    other = open_log(tmp_path / "other.db")
    write(other, "session/a", 1.0, 2.0)
    with EpisodeProjection(other, folder=folder) as memory:
        memory.wait(2, timeout_s=SOON_S)
    other.close()
    write(log, "session/a", None, None, 9.0)
    with EpisodeProjection(log, folder=folder) as memory:
        assert recall(memory, log) == ["session/a@3"]


def test_a_log_restored_from_an_older_copy_does_not_remember_what_it_lost(tmp_path: Path, folder: Path) -> None:
    path, copy = tmp_path / "copied.db", tmp_path / "copy.db"
    log = open_log(path)
    write(log, "session/a", 1.0)
    log.close()
    shutil.copy(path, copy)
    log = open_log(path)
    write(log, "session/a", 2.0, 3.0)
    with EpisodeProjection(log, folder=folder) as memory:
        assert recall(memory, log) == ["session/a@1", "session/a@2", "session/a@3"]
    log.close()
    for left in tmp_path.glob("copied.db*"):
        left.unlink()
    shutil.copy(copy, path)
    log = open_log(path)
    write(log, "session/a", None)
    with EpisodeProjection(log, folder=folder) as memory:
        assert recall(memory, log) == ["session/a@1"]
    log.close()


def test_a_position_that_never_comes_is_late_and_nothing_breaks(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        with pytest.raises(RecallLate, match="99 was asked for"):
            memory.wait(99, timeout_s=0.05)
        write(log, "session/a", 1.0)
        assert recall(memory, log) == ["session/a@1"]


def test_a_failure_of_the_thread_is_raised_to_everybody_who_asks(log: EventLog, folder: Path) -> None:
    memory = EpisodeProjection(log, folder=folder)
    write(log, "session/a", 1.0)
    # Two widths under one embedder id cannot stand in one shard.
    wide = Remembered(
        episode=Episode(observation="0" * 64, why="always"), vector=Array.of([1.0], dtype="float32"), embedder=EMBEDDER
    )
    log.append("session/a", [Draft(event=wide, command="wide")], expected_version=1, epoch=1)
    for _ in range(2):
        with pytest.raises(ProjectionFailed, match="safe in the log"):
            memory.wait(2, timeout_s=SOON_S)
    with pytest.raises(ProjectionFailed):
        memory.close()
    EdgeIndex(folder).close()  # the folder was let go all the same


def test_a_log_closed_first_ends_it_without_an_error_at_close(tmp_path: Path, folder: Path) -> None:
    log = open_log(tmp_path / "short.db")
    memory = EpisodeProjection(log, folder=folder)
    write(log, "session/a", 1.0)
    memory.wait(1, timeout_s=SOON_S)
    log.close()
    with pytest.raises(ProjectionFailed):
        memory.wait(2, timeout_s=SOON_S)
    memory.close()
    assert saved(folder)["position"] == 1


def test_a_second_projection_of_one_folder_is_refused(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder), pytest.raises(IndexHeld):
        EpisodeProjection(log, folder=folder)


def test_what_was_forgotten_is_found_as_of_before_and_never_after(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        write(log, "session/a", 1.0, 2.0, 3.0)
        forget(log, "session/a", "session/a@1")
        assert recall(memory, log) == ["session/a@2", "session/a@3"]
        assert recall(memory, log, to=4) == ["session/a@2", "session/a@3"]
        assert recall(memory, log, to=3) == ["session/a@1", "session/a@2", "session/a@3"]
        forget(log, "session/a", "session/a@1", "session/a@3")
        assert recall(memory, log) == ["session/a@2"]


def test_as_many_are_found_as_were_asked_for_however_many_nearer_ones_were_forgotten(
    log: EventLog, folder: Path
) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        write(log, "session/a", *(float(x) for x in range(1, 31)))
        forget(log, "session/a", *(f"session/a@{version}" for version in range(1, 21)))
        vector = np.zeros(2, np.float32)
        lineage, position = [("session/a", 10**6)], log.position()
        hits = memory.recall(vector, embedder=EMBEDDER, k=2, lineage=lineage, position=position, timeout_s=SOON_S)
        assert [hit.event for hit in hits] == ["session/a@21", "session/a@22"]


@pytest.mark.parametrize("rebuilt", [False, True])
def test_what_was_forgotten_stays_so_in_the_next_process_and_in_a_rebuilt_index(
    log: EventLog, folder: Path, rebuilt: bool
) -> None:
    write(log, "session/a", 1.0, 2.0)
    forget(log, "session/a", "session/a@1")
    with EpisodeProjection(log, folder=folder) as memory:
        assert recall(memory, log) == ["session/a@2"]
    assert saved(folder)["forgotten"] == {"session/a@1": ["session/a@3"]}
    if rebuilt:
        (folder / "cursor.json").unlink()
    with EpisodeProjection(log, folder=folder) as memory:
        assert recall(memory, log) == ["session/a@2"]


def test_a_branch_forgets_for_itself_and_for_those_that_go_on_from_it(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        write(log, "session/a", 1.0, 2.0)
        forget(log, "session/fork", "session/a@1")

        def found(lineage: Lineage) -> list[str]:
            hits = memory.recall(
                np.zeros(2, np.float32),
                embedder=EMBEDDER,
                k=9,
                lineage=lineage,
                position=log.position(),
                timeout_s=SOON_S,
            )
            return [hit.event for hit in hits]

        assert found([("session/a", 2)]) == ["session/a@1", "session/a@2"]
        assert found([("session/a", 2), ("session/fork", 1)]) == ["session/a@2"]


def test_to_forget_what_was_never_remembered_changes_nothing(log: EventLog, folder: Path) -> None:
    with EpisodeProjection(log, folder=folder) as memory:
        write(log, "session/a", 1.0, None)
        forget(log, "session/a", "session/a@2", "session/b@7")
        assert recall(memory, log) == ["session/a@1"]


def test_what_was_said_is_recalled_with_its_words(log: EventLog, folder: Path) -> None:
    embedder = TextEmbedder()
    said = ["the parcel to Oslo was late", "my cat sleeps all day", "please refund order 1007"]
    drafts = [
        Draft(
            event=Remembered(
                episode=Episode(observation="0" * 64, why="always", text=text),
                vector=Array.of(embedder.embed(text)),
                embedder=embedder.embedder,
            ),
            command=str(place),
        )
        for place, text in enumerate(said)
    ]
    log.append("session/a", drafts, expected_version=0, epoch=1)
    with EpisodeProjection(log, folder=folder) as memory:
        hits = memory.recall(
            embedder.embed("I want a refund for my order"),
            embedder=embedder.embedder,
            k=2,
            lineage=[("session/a", 3)],
            position=log.position(),
            timeout_s=SOON_S,
        )
    assert (hits[0].event, hits[0].text) == ("session/a@3", said[2])
    assert hits[0].score > hits[1].score


WRITES_AND_FOLLOWS = """
import sys
from pathlib import Path
import memory.project
from memory.project import EpisodeProjection
from telemetry.events.envelope import Draft
from telemetry.events.learn import Remembered
from telemetry.events.values import Array, Episode
from telemetry.log import open_log
memory.project.SAVE_EVERY = 7  # so that kills fall around the saving of the cursor too
log = open_log(Path(sys.argv[1]))
projection = EpisodeProjection(log, folder=Path(sys.argv[2]))
head = log.head("session/a")
version = 0 if head is None else head.version
while True:
    vector = Array.of([float(version + 1), 0.0], dtype="float32")
    episode = Episode(observation="0" * 64, why="always")
    event = Remembered(episode=episode, vector=vector, embedder="vector-2@1")
    log.append("session/a", [Draft(event=event, command=f"c{version}")], expected_version=version, epoch=1)
    version += 1
    print(version, flush=True)
"""


def test_whenever_it_is_killed_it_ends_up_equal_to_the_log(tmp_path: Path, folder: Path) -> None:
    chance = random.Random(5)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITES_AND_FOLLOWS, str(tmp_path / "log.db"), str(folder)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(chance.randint(1, 60)):
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
    log = open_log(tmp_path / "log.db")
    with EpisodeProjection(log, folder=folder) as memory:
        wanted = [event.id for event in log.read("session/a")]
        hits = memory.recall(
            np.zeros(2, np.float32),
            embedder=EMBEDDER,
            k=10**4,
            lineage=[("session/a", 10**6)],
            position=log.position(),
            timeout_s=SOON_S,
        )
        assert [hit.event for hit in hits] == wanted
    log.close()

"""What read tasks bring into Ray's object store, without a cluster: the tasks are called here, in any order."""

from __future__ import annotations

import itertools
import random

import pyarrow as pa
import pytest
from pydantic import SecretStr

from loops.lessons import digest_of, joined, numbers_of, read_lessons
from loops.lives import Source, families
from loops.training.ray_data import Sessions, put_together, shared_out
from runtime.fork import fork
from runtime.sessions import opened
from telemetry.errors import LogError
from telemetry.log import EventLog
from tests.local import Local

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 9 }
memory = { recall = 0 }
"""
PASSWORD = "hunter2"


def lived(local: Local) -> list[Source]:
    """Four sessions and two forks, one of a fork."""
    for name in "abcd":
        local.run(name, LINE, seed=ord(name), cycles=12)
    for parent, name, cycle in (("b", "e", 3), ("e", "f", 6)):
        fork(local.log, parent, at=local.events(parent, "session.cycle_closed")[cycle].version, new=name)
        local.run(name, LINE, cycles=12)
    return [Source(f"session/{name}", opened(local.log, f"session/{name}")) for name in "fabecd"]


def tables(sessions: Sessions) -> list[pa.Table]:
    return list(itertools.chain.from_iterable(task() for task in sessions.get_read_tasks(1)))


def test_sessions_of_one_lineage_are_read_by_one_task(local: Local) -> None:
    groups = families(local.log, [source.stream for source in lived(local)])
    assert groups == [[0, 2, 3], [1], [4], [5]]
    assert shared_out(groups, 2) == [[0, 2, 3, 4], [1, 5]]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_rows_in_any_order_and_of_any_number_of_tasks_are_those_of_one_reader(
    local: Local, log: EventLog, count: int
) -> None:
    sources = lived(local)
    expected = read_lessons(log, sources)
    tasks = shared_out(families(log, [source.stream for source in sources]), count)
    found = tables(Sessions(SecretStr(log.url), sources, tasks, to=log.position()))
    random.Random(count).shuffle(found)
    layout = expected.experience.layout
    lives = put_together(layout, len(sources), found)
    assert digest_of(joined(layout, numbers_of(sources), lives)) == expected.digest
    assert tuple(one.end for one in lives) == expected.ends


def test_a_session_that_did_not_arrive_is_missed(local: Local, log: EventLog) -> None:
    sources = lived(local)
    found = tables(Sessions(SecretStr(log.url), sources, [[0, 1, 2]], to=log.position()))
    layout = sources[0].layout
    assert layout is not None
    with pytest.raises(AssertionError, match="3 of 6 sessions did not arrive"):
        put_together(layout, len(sources), found)


def test_a_password_in_the_url_is_in_nothing_that_a_read_task_shows(local: Local) -> None:
    url = f"postgresql://reader:{PASSWORD}@127.0.0.1:1/log"
    sessions = Sessions(SecretStr(url), lived(local), [[0]], to=9)
    (task,) = sessions.get_read_tasks(1)
    shown = f"{sessions!r} {vars(sessions)} {sessions.get_name()} {task!r} {task.read_fn} {task.metadata}"
    assert PASSWORD not in shown
    with pytest.raises(LogError, match=r"127\.0\.0\.1") as error:
        list(task())
    assert PASSWORD not in str(error.getrepr(showlocals=False))

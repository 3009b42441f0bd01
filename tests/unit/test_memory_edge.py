"""The index on real Qdrant: exact, bound to a lineage, and whole after a kill."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memory.edge import EdgeIndex, Lineage, MemoryPoint
from memory.errors import IndexDamaged, IndexHeld, ShapeError

REPOSITORY = Path(__file__).parents[2]
EMBEDDER = "vector-3@1"
STREAMS = ("session/a", "session/b", "session/a-fork")


def point(stream: str, version: int, *values: float, embedder: str = EMBEDDER) -> MemoryPoint:
    return MemoryPoint(
        stream=stream, version=version, position=version, embedder=embedder, vector=np.array(values, np.float32)
    )


def nearest_by_hand(points: list[MemoryPoint], to: NDArray[np.float32], *, k: int, lineage: Lineage) -> list[str]:
    """Ids in the promised order, computed from all points."""
    within = [p for p in points if any(p.stream == s and p.version <= v for s, v in lineage)]
    score = {id(p): 1 / (1 + float(np.linalg.norm(p.vector - to))) for p in within}
    within.sort(key=lambda p: (-score[id(p)], p.stream, p.version))
    return [f"{p.stream}@{p.version}" for p in within[:k]]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[EdgeIndex]:
    made = EdgeIndex(tmp_path / "index")
    yield made
    made.close()


def test_the_nearest_come_best_first_with_a_similarity_of_their_distance(index: EdgeIndex) -> None:
    index.upsert([point("session/a", 1, 3, 4, 0), point("session/a", 2, 0, 0, 0), point("session/a", 3, 0, 1, 0)])
    hits = index.nearest(np.zeros(3, np.float32), embedder=EMBEDDER, k=5, lineage=[("session/a", 9)])
    assert [hit.event for hit in hits] == ["session/a@2", "session/a@3", "session/a@1"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.5, 1 / 6])


@pytest.mark.parametrize(
    ("lineage", "oldest"),
    [
        # Alone among others, and over two streams, Qdrant itself returns any of the tied ones (measured with 0.9).
        ([("session/a", 999)], [("session/a", version) for version in range(1, 61)]),
        ([("session/b", 60), ("session/a", 3)], [("session/a", v) for v in (1, 2, 3)] + [("session/b", 1)]),
    ],
)
@pytest.mark.parametrize("k", [2, 4, 20])
def test_of_many_equally_near_ones_the_oldest_are_chosen(
    index: EdgeIndex, lineage: list[tuple[str, int]], oldest: list[tuple[str, int]], k: int
) -> None:
    points = [point(stream, version, 1, 1, 1) for stream in STREAMS[:2] for version in range(1, 61)]
    points += [point("session/other", version, 5, 5, 5) for version in range(1, 3001)]
    random.Random(9).shuffle(points)
    index.upsert(points)
    hits = index.nearest(np.zeros(3, np.float32), embedder=EMBEDDER, k=k, lineage=lineage)
    expected = [f"{stream}@{version}" for stream, version in oldest][:k]
    assert [hit.event for hit in hits][: len(expected)] == expected
    assert len(hits) == k


# Few values on a grid, so that equal distances are common; the index is emptied before each example.
POINTS = st.dictionaries(
    st.tuples(st.sampled_from(STREAMS), st.integers(1, 12)), st.tuples(*[st.integers(-1, 1)] * 3), max_size=30
)
LINEAGES = st.dictionaries(st.sampled_from(STREAMS), st.integers(0, 14), max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=POINTS, lineage=LINEAGES, k=st.integers(1, 6), to=st.tuples(*[st.integers(-1, 1)] * 3))
def test_recall_is_the_exact_nearest_within_the_lineage_and_nothing_else(
    index: EdgeIndex,
    points: dict[tuple[str, int], tuple[int, int, int]],
    lineage: dict[str, int],
    k: int,
    to: tuple[int, int, int],
) -> None:
    index.clear()
    all_points = [point(stream, version, *values) for (stream, version), values in points.items()]
    index.upsert(all_points)
    target, bounds = np.array(to, np.float32), list(lineage.items())
    hits = index.nearest(target, embedder=EMBEDDER, k=k, lineage=bounds)
    assert [hit.event for hit in hits] == nearest_by_hand(all_points, target, k=k, lineage=bounds)


def test_a_fork_remembers_its_parent_up_to_the_cut_and_never_its_parents_future(index: EdgeIndex) -> None:
    index.upsert([point("session/a", version, version, 0, 0) for version in range(1, 11)])
    index.upsert([point("session/a-fork", 5, 5, 0, 0)])
    hits = index.nearest(
        np.array([10, 0, 0], np.float32), embedder=EMBEDDER, k=9, lineage=[("session/a", 4), ("session/a-fork", 5)]
    )
    assert [hit.event for hit in hits] == ["session/a-fork@5"] + [f"session/a@{v}" for v in (4, 3, 2, 1)]


def test_the_same_event_twice_is_one_point(index: EdgeIndex) -> None:
    for _ in range(2):
        index.upsert([point("session/a", 1, 0, 0, 0), point("session/a", 2, 1, 0, 0)])
    assert index.counts() == {EMBEDDER: 2}


def test_embedders_do_not_see_each_other(index: EdgeIndex) -> None:
    index.upsert([point("session/a", 1, 0, 0, 0), point("session/a", 2, 0, 0, embedder="vector-2@1")])
    hits = index.nearest(np.zeros(2, np.float32), embedder="vector-2@1", k=5, lineage=[("session/a", 9)])
    assert [hit.event for hit in hits] == ["session/a@2"]
    assert index.nearest(np.zeros(3, np.float32), embedder="other/x@1.0", k=5, lineage=[("session/a", 9)]) == ()


def test_a_vector_of_another_width_is_refused_and_the_shard_stays_usable(index: EdgeIndex) -> None:
    index.upsert([point("session/a", 1, 0, 0, 0)])
    with pytest.raises(ShapeError, match=r"which holds \(3,\)"):
        index.upsert([point("session/a", 2, 0, 0, 0), point("session/a", 3, 0, 0)])
    with pytest.raises(ShapeError):
        index.nearest(np.zeros(4, np.float32), embedder=EMBEDDER, k=1, lineage=[("session/a", 9)])
    assert index.counts() == {EMBEDDER: 1}


def test_what_was_indexed_is_there_after_reopening(tmp_path: Path) -> None:
    odd = "someone/embedder.v2@1.0-rc.1"
    first = EdgeIndex(tmp_path)
    first.upsert([point("session/a", 1, 0, 0, 0), point("session/a", 2, 7, embedder=odd)])
    first.close()
    first.close()
    with pytest.raises(IndexHeld, match="closed here"):
        first.counts()
    second = EdgeIndex(tmp_path)
    assert second.counts() == {EMBEDDER: 1, odd: 1}
    second.clear()
    assert second.counts() == {}
    second.close()


def test_a_folder_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first = EdgeIndex(tmp_path)
    with pytest.raises(IndexHeld, match="held by pid"):
        EdgeIndex(tmp_path)
    first.close()
    EdgeIndex(tmp_path).close()


def test_a_damaged_shard_is_called_damaged(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path)
    index.upsert([point("session/a", 1, 0, 0, 0)])
    index.close()
    (config,) = tmp_path.rglob("edge_config.json")
    config.write_text("no json")
    again = EdgeIndex(tmp_path)
    with pytest.raises(IndexDamaged, match="The log is intact"):
        again.counts()
    again.clear()
    again.upsert([point("session/a", 1, 0, 0, 0)])
    again.close()


UPSERTS_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from memory.edge import EdgeIndex, MemoryPoint
index = EdgeIndex(Path(sys.argv[1]))
version = int(sys.argv[2])
while True:
    vector = np.array([version, 0, 0], np.float32)
    where = {"stream": "session/a", "version": version, "position": version}
    index.upsert([MemoryPoint(embedder="vector-3@1", vector=vector, **where)])
    print(version, flush=True)
    if version % 50 == 0:
        index.flush()
    version += 1
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed_again_and_again(tmp_path: Path) -> None:
    acknowledged = 0
    for lines in (1, 37, 120, 203):
        child = subprocess.Popen(
            [sys.executable, "-c", UPSERTS_FOR_EVER, str(tmp_path), str(acknowledged + 1)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().splitlines()
        assert child.wait() == -signal.SIGKILL
        # The last line may have been cut in the middle; every whole one was an acknowledgement.
        acknowledged += lines + max(0, len(rest) - 1)
        index = EdgeIndex(tmp_path)
        hits = index.nearest(
            np.zeros(3, np.float32), embedder=EMBEDDER, k=acknowledged, lineage=[("session/a", acknowledged)]
        )
        assert [hit.event for hit in hits] == [f"session/a@{v}" for v in range(1, acknowledged + 1)]
        index.close()

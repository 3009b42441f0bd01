"""Trained models on disk: whole or not at all, found by name, by digest and by folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runtime.errors import NotFound, Unavailable, UsageError
from runtime.models.store import LATEST, Kept, check_name, find, kept, lay_down, laying_down

FIRST, SECOND = "0123456789ab", "ba9876543210"


def lay(home: Path, name: str, digest: str, content: str = "weights", *, latest: bool = True) -> Kept:
    with laying_down(home, name) as written:
        written.mkdir()
        (written / "weights").write_text(content)
        return lay_down(written, digest, latest=latest)


def test_a_model_is_found_by_name_by_digest_and_by_folder(tmp_path: Path) -> None:
    first = lay(tmp_path, "maze", FIRST)
    second = lay(tmp_path, "maze", SECOND)
    assert find(tmp_path, "maze") == second
    assert second.model == f"maze@{SECOND}"
    assert find(tmp_path, f"maze@{FIRST}") == find(tmp_path, "maze@0123") == first._replace(latest=False)
    assert find(tmp_path, f"{tmp_path}/maze/{SECOND}") == second
    assert [one.digest for one in kept(tmp_path)] == [SECOND, FIRST]
    assert (first.folder / "weights").read_text() == "weights"


def test_the_same_digest_again_is_left_as_it_stands_and_is_the_latest(tmp_path: Path) -> None:
    lay(tmp_path, "maze", FIRST)
    lay(tmp_path, "maze", SECOND)
    lay(tmp_path, "maze", FIRST, "never written over")
    assert find(tmp_path, "maze").digest == FIRST
    assert (tmp_path / "maze" / FIRST / "weights").read_text() == "weights"
    assert sorted(path.name for path in (tmp_path / "maze").iterdir()) == sorted([FIRST, SECOND, LATEST])


def test_a_model_may_be_kept_beside_the_latest(tmp_path: Path) -> None:
    lay(tmp_path, "maze", FIRST)
    assert not lay(tmp_path, "maze", SECOND, latest=False).latest
    assert find(tmp_path, "maze").digest == FIRST
    assert not find(tmp_path, f"maze@{SECOND}").latest


def cut_off(home: Path, error: BaseException) -> None:
    with laying_down(home, "maze") as written:
        written.mkdir()
        (written / "weights").write_text("half")
        raise error


def test_what_is_cut_off_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "maze", FIRST)
    with pytest.raises(KeyboardInterrupt):
        cut_off(tmp_path, KeyboardInterrupt())
    assert find(tmp_path, "maze").digest == FIRST
    assert sorted(path.name for path in (tmp_path / "maze").iterdir()) == [FIRST, LATEST]


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path: Path) -> None:
    lay(tmp_path, "maze", FIRST)
    with pytest.raises(Unavailable, match=r"No space left on device\. Models that were there are intact"):
        cut_off(tmp_path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert find(tmp_path, "maze").digest == FIRST


def test_what_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is none yet\. Try: aether train world-model maze"):
        find(tmp_path, "maze")
    lay(tmp_path, "maze", FIRST)
    with pytest.raises(NotFound, match="did you mean 'maze'"):
        find(tmp_path, "maize")
    with pytest.raises(NotFound, match=f"did you mean 'maze@{FIRST}'"):
        find(tmp_path, f"maze@{FIRST[:-1]}0")
    with pytest.raises(NotFound, match="there is no model's folder"):
        find(tmp_path, "./nowhere")


def test_a_name_whose_latest_is_not_said_names_its_digests(tmp_path: Path) -> None:
    lay(tmp_path, "maze", FIRST)
    (tmp_path / "maze" / LATEST).unlink()
    with pytest.raises(NotFound, match=f"name one of: maze@{FIRST}"):
        find(tmp_path, "maze")
    assert find(tmp_path, f"maze@{FIRST}").digest == FIRST


@pytest.mark.parametrize("name", ["", "Maze", "../maze", "a b", "maze@1", "-maze"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a model"):
        check_name(name)

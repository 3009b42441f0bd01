"""Trained models on disk: whole or not at all, found by name, by digest and by folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runtime.errors import NotFound, Unavailable, UsageError, VerificationFailed
from runtime.models.registry.pointers import LATEST, PROMOTED, write_in
from runtime.models.registry.promotion import promoted
from runtime.models.registry.store import (
    Kept,
    Registry,
    check_name,
    find,
    folder_of,
    kept,
    lay_down,
    laying_down,
    registry_of,
)
from runtime.models.registry.succession import Succession
from runtime.settings import UPLOAD_MARK, Settings

FIRST, SECOND = "0123456789ab", "ba9876543210"


@pytest.fixture
def home(tmp_path: Path) -> Registry:
    return Registry(folder=tmp_path)


def lay(home: Registry, name: str, digest: str, content: str = "weights", *, latest: bool = True) -> Kept:
    with laying_down(home, name) as written:
        written.mkdir()
        (written / "weights").write_text(content)
        return lay_down(home, written, digest, latest=latest)


def test_a_model_is_found_by_name_by_digest_and_by_folder(home: Registry) -> None:
    first = lay(home, "maze", FIRST)
    second = lay(home, "maze", SECOND)
    assert find(home, "maze") == second
    assert second.model == f"maze@{SECOND}"
    assert find(home, f"maze@{FIRST}") == find(home, "maze@0123") == first._replace(latest=False)
    assert find(home, f"{home.folder}/maze/{SECOND}") == second
    assert [one.digest for one in kept(home)] == [SECOND, FIRST]
    assert (first.folder / "weights").read_text() == "weights"


def test_the_same_digest_again_is_left_as_it_stands_and_is_the_latest(home: Registry) -> None:
    lay(home, "maze", FIRST)
    lay(home, "maze", SECOND)
    lay(home, "maze", FIRST, "never written over")
    assert find(home, "maze").digest == FIRST
    assert (home.folder / "maze" / FIRST / "weights").read_text() == "weights"
    assert sorted(path.name for path in (home.folder / "maze").iterdir()) == sorted([FIRST, SECOND, LATEST])


def test_a_model_may_be_kept_beside_the_latest(home: Registry) -> None:
    lay(home, "maze", FIRST)
    assert not lay(home, "maze", SECOND, latest=False).latest
    assert find(home, "maze").digest == FIRST
    assert not find(home, f"maze@{SECOND}").latest


def cut_off(home: Registry, error: BaseException) -> None:
    with laying_down(home, "maze") as written:
        written.mkdir()
        (written / "weights").write_text("half")
        raise error


def test_what_is_cut_off_while_it_is_written_leaves_nothing(home: Registry) -> None:
    lay(home, "maze", FIRST)
    with pytest.raises(KeyboardInterrupt):
        cut_off(home, KeyboardInterrupt())
    assert find(home, "maze").digest == FIRST
    assert sorted(path.name for path in (home.folder / "maze").iterdir()) == [FIRST, LATEST]


def test_a_full_disk_is_said_and_what_was_there_stays(home: Registry) -> None:
    lay(home, "maze", FIRST)
    with pytest.raises(Unavailable, match=r"No space left on device\. Models that were there are intact"):
        cut_off(home, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert find(home, "maze").digest == FIRST


def test_what_is_not_there_is_answered_with_the_nearest(home: Registry) -> None:
    with pytest.raises(NotFound, match=r"there is none yet\. Try: aether train world-model maze"):
        find(home, "maze")
    lay(home, "maze", FIRST)
    with pytest.raises(NotFound, match="did you mean 'maze'"):
        find(home, "maize")
    with pytest.raises(NotFound, match=f"did you mean 'maze@{FIRST}'"):
        find(home, f"maze@{FIRST[:-1]}0")
    with pytest.raises(NotFound, match="there is no model's folder"):
        find(home, "./nowhere")


def test_a_name_whose_latest_is_not_said_names_its_digests(home: Registry) -> None:
    lay(home, "maze", FIRST)
    (home.folder / "maze" / LATEST).unlink()
    with pytest.raises(NotFound, match=f"name one of: maze@{FIRST}"):
        find(home, "maze")
    assert find(home, f"maze@{FIRST}").digest == FIRST


@pytest.mark.parametrize("name", ["", "Maze", "../maze", "a b", "maze@1", "-maze", "greedy"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a model"):
        check_name(name)


BASE = "greedy@4f6b01aabbcc"
"""What a scenario does by itself, which is in no folder."""


def point(home: Registry, *ids: str) -> None:
    """As promotions do, the latest first."""
    write_in(home.place(), "maze", Succession(ids))


def test_a_name_means_what_was_promoted_and_without_that_the_latest(home: Registry) -> None:
    first, second = lay(home, "maze", FIRST), lay(home, "maze", SECOND)
    assert promoted(home, "maze") is None
    point(home, first.model, BASE)
    assert promoted(home, "maze") == first.model
    assert find(home, "maze") == first._replace(latest=False, promoted=True)
    assert [(one.digest, one.latest, one.promoted) for one in kept(home)] == [
        (SECOND, True, False),
        (FIRST, False, True),
    ]
    assert find(home, f"{home.folder}/maze/{FIRST}").promoted
    point(home, BASE)
    assert promoted(home, "maze") == BASE
    assert find(home, "maze") == second, "what the scenario does by itself is no model: the name means the latest"


def test_a_promoted_model_that_was_removed_is_named(home: Registry) -> None:
    first, second = lay(home, "maze", FIRST), lay(home, "maze", SECOND)
    point(home, second.model, first.model)
    for file in second.folder.iterdir():
        file.unlink()
    second.folder.rmdir()
    with pytest.raises(NotFound, match=rf"{second.model} is promoted and is not in .*rollback maze\. There are: "):
        find(home, "maze")
    with pytest.raises(NotFound, match=f"'{second.model}'"):
        folder_of(home, second.model)
    point(home, first.model)
    assert find(home, "maze").model == first.model


def test_a_pointer_that_says_nothing_is_named(home: Registry) -> None:
    lay(home, "maze", FIRST)
    for content in (b"no id\n", b"\xff\xfe", b""):
        (home.folder / "maze" / PROMOTED).write_bytes(content)
        with pytest.raises(VerificationFailed, match="does not say which maze is promoted"):
            find(home, "maze")
    assert not kept(home)[0].promoted
    assert find(home, f"maze@{FIRST}").digest == FIRST


def test_the_place_of_models_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry_of(Settings(home=tmp_path)) == Registry(folder=tmp_path / "models")
    assert registry_of(Settings(home=tmp_path, models="shelf")) == Registry(folder=tmp_path / "shelf")
    url = "s3://bucket/models"
    assert registry_of(Settings(home=tmp_path, models=f"{url}/")) == Registry(folder=tmp_path / "models", url=url)
    here = f"file://{tmp_path}/models"
    assert registry_of(Settings(home=tmp_path, models=here)) == Registry(folder=tmp_path / "models")
    with pytest.raises(UsageError, match="and no chain of them"):
        registry_of(Settings(home=tmp_path, models="simplecache::s3://bucket"))
    upload = tmp_path / UPLOAD_MARK
    upload.mkdir()
    monkeypatch.chdir(upload)
    with pytest.raises(UsageError, match="which Ray deletes with the job"):
        registry_of(Settings(home=tmp_path, models="shelf"))

"""Models at a URL: whoever has the URL has the models, whole or not at all, and hears no secret of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from runtime.entry import enter
from runtime.errors import NotFound, Unavailable, UsageError, VerificationFailed
from runtime.models.registry import remote
from runtime.models.registry.by_hand import promote_by_hand, roll_back_by_hand
from runtime.models.registry.pointers import LATEST, PROMOTED
from runtime.models.registry.promotion import promoted
from runtime.models.registry.remote import MARK
from runtime.models.registry.store import (
    Kept,
    Registry,
    beside,
    check_writable,
    find,
    folder_of,
    kept,
    lay_down,
    laying_down,
    registry_of,
)
from runtime.models.registry.urls import hide, shown
from runtime.settings import Settings
from telemetry.events.learn import ModelPromoted
from telemetry.files import write_file
from telemetry.log import open_log
from tests.trained import lived
from world_model.checkpoint import CONFIG, load, save
from world_model.frozen import learn_linear

BASE = "greedy@4f6b01aabbcc"


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place that nothing lies in yet."""
    yield "memory://bucket/models" if request.param == "memory" else f"file://{tmp_path}/far/models"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def here(url: str, tmp_path: Path) -> Registry:
    return Registry(folder=tmp_path / "here", url=url)


@pytest.fixture
def there(url: str, tmp_path: Path) -> Registry:
    """The same models, from another machine."""
    return Registry(folder=tmp_path / "there", url=url)


def lay(registry: Registry, *, part: int = 1, latest: bool = True) -> Kept:
    """A model that learnt from one of several parts of what was lived, so that it is another one for each."""
    with laying_down(registry, "line") as written:
        rest, _ = lived().split(held_out=0.1 * part, seed=part)
        model = save(written, learn_linear(rest, name="line"), landmarks=None, metrics={})
        write_file(written / "learnt.json", b"what it was learnt from")
        return lay_down(registry, written, model.partition("@")[2], latest=latest)


@pytest.fixture
def log(tmp_path: Path) -> str:
    """A log that nothing is on."""
    open_log(tmp_path / "log.db").close()
    return str(tmp_path / "log.db")


def objects(url: str) -> list[str]:
    """What lies at the URL, by its path from there."""
    driver, root = fsspec.url_to_fs(url)
    return sorted(path.removeprefix(root).lstrip("/") for path in driver.find(root))


def alter(url: str, name: str) -> None:
    driver, root = fsspec.url_to_fs(url)
    content = bytearray(driver.cat_file(f"{root}/{name}"))
    content[-3] ^= 1
    driver.pipe_file(f"{root}/{name}", bytes(content))


def test_a_model_that_is_laid_down_here_is_found_and_fetched_there(here: Registry, there: Registry) -> None:
    first, second = lay(here, part=1), lay(here, part=2)
    assert [(one.digest, one.latest) for one in kept(there)] == [(second.digest, True), (first.digest, False)]
    assert not there.folder.exists(), "what is listed is not fetched"
    assert beside(there, kept(there)[0], "learnt.json") == b"what it was learnt from"
    found = find(there, "line")
    assert found == second._replace(folder=there.folder / "line" / second.digest)
    assert load(found.folder).model_id == second.model
    assert sorted(path.name for path in found.folder.iterdir()) == sorted(path.name for path in second.folder.iterdir())
    assert [path.name for path in (there.folder / "line").iterdir()] == [second.digest]
    assert folder_of(there, first.model) == there.folder / "line" / first.digest
    assert load(folder_of(there, first.model)).model_id == first.model


def test_promoting_and_taking_back_is_seen_everywhere(here: Registry, there: Registry, url: str, log: str) -> None:
    first, second = lay(here, part=1), lay(here, part=2)
    enter(log, ModelPromoted(model=second.model, incumbent=BASE, figures={}), run="judged")
    promote_by_hand(log, here, first.model, why="")
    assert promoted(there, "line") == first.model
    assert find(there, "line").model == first.model
    assert roll_back_by_hand(log, there, "line", why="").model == second.model
    assert roll_back_by_hand(log, here, "line", why="").model == BASE
    assert promoted(there, "line") == BASE
    assert find(here, "line").model == second.model, "the latest, where no model is promoted"
    assert {f"line/{LATEST}", f"line/{PROMOTED}"} <= set(objects(url))


def test_the_same_model_from_two_places_is_one(here: Registry, there: Registry, url: str) -> None:
    assert lay(here).model == lay(there).model
    assert len(kept(here)) == 1
    assert [path.split("/")[-1] for path in objects(url) if path.startswith("line/")] == [
        "config.json",
        "learnt.json",
        "metrics.json",
        "model.safetensors",
        LATEST,
    ]


def test_what_is_here_already_needs_no_url(here: Registry, tmp_path: Path) -> None:
    model = lay(here).model
    away = here.model_copy(update={"url": "ftp://127.0.0.1:1/models"})
    assert load(folder_of(away, model)).model_id == model
    with pytest.raises(Unavailable, match=r"ftp://127.0.0.1:1/models cannot be reached: .*refused"):
        find(away, "line")


def test_a_registry_that_cannot_be_used_is_known_before_there_is_a_model(here: Registry, tmp_path: Path) -> None:
    check_writable(here, "line")
    assert kept(here) == []
    with pytest.raises(Unavailable, match="cannot be reached"):
        check_writable(here.model_copy(update={"url": "ftp://127.0.0.1:1/models"}), "line")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Unavailable, match="the model cannot be kept in"):
        check_writable(Registry(folder=tmp_path / "file"), "line")


def test_altered_weights_are_not_fetched(here: Registry, there: Registry, url: str) -> None:
    one = lay(here)
    alter(url, f"line/{one.digest}/model.safetensors")
    with pytest.raises(VerificationFailed, match=rf"/line/{one.digest} was altered: .* It was not fetched"):
        folder_of(there, one.model)
    assert list((there.folder / "line").iterdir()) == []
    assert load(folder_of(here, one.model)).model_id == one.model, "what was fetched before is as it was"


def test_another_model_under_a_name_is_not_fetched(here: Registry, there: Registry, url: str) -> None:
    one = lay(here)
    driver, root = fsspec.url_to_fs(url)
    driver.mv(f"{root}/line/{one.digest}", f"{root}/line/{'0' * 12}", recursive=True)
    with pytest.raises(VerificationFailed, match=f"is a model with the digest {one.digest}"):
        folder_of(there, f"line@{'0' * 12}")


def test_a_model_that_was_removed_is_not_there(here: Registry, there: Registry, url: str, log: str) -> None:
    first, second = lay(here, part=1), lay(here, part=2)
    for one in (second, first):
        promote_by_hand(log, here, one.model, why="")
    driver, root = fsspec.url_to_fs(url)
    driver.rm(f"{root}/line/{first.digest}", recursive=True)
    with pytest.raises(NotFound, match=f"{first.model} is promoted and is not in .*models any more"):
        find(there, "line")
    with pytest.raises(NotFound, match=f"there is no '{first.model}'"):
        folder_of(there, first.model)
    assert roll_back_by_hand(log, there, "line", why="").model == second.model


def test_the_mark_of_a_whole_model_is_what_it_cannot_be_read_without() -> None:
    assert MARK == CONFIG


class Cut(MemoryFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A store whose connection breaks after so many objects were put."""

    protocol = "cut"
    cachable = False
    left = 0

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
        if Cut.left == 0:
            raise ConnectionResetError("the connection is gone; it was made with key=hunter2")
        Cut.left -= 1
        super().pipe_file(path, value, mode=mode, **more)


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[Registry]:
    fsspec.register_implementation("cut", Cut, clobber=True)
    yield Registry(folder=tmp_path / "here", url="cut://user:hunter2@bucket/models")
    MemoryFileSystem.store.clear()


def test_cut_off_between_any_two_objects_no_half_model_is_seen_and_the_next_try_makes_it_whole(cut: Registry) -> None:
    for sent in range(5):
        Cut.left = sent
        with pytest.raises(Unavailable, match=r"The model is whole in .*; train it again") as raised:
            lay(cut)
        assert "hunter2" not in str(raised.value)
        assert len(kept(cut)) == (sent == 4), "all but the pointer"
    assert not kept(cut)[0].latest
    Cut.left = 99
    assert lay(cut).latest
    assert [one.latest for one in kept(cut)] == [True]


def test_what_a_sender_left_that_was_cut_off_is_removed_a_day_later(cut: Registry) -> None:
    Cut.left = 2
    with pytest.raises(Unavailable):
        lay(cut, part=1)
    Cut.left = 99
    lay(cut, part=2)
    assert len(Cut.store) == 2 + 5, "it may be being sent still"
    for left in Cut.store.values():
        left.created = left.modified = datetime(2026, 1, 1, tzinfo=UTC)
    lay(cut, part=3)
    assert len(Cut.store) == 4 + 5, "of the other two, of which one is the latest"
    assert len(kept(cut)) == 2


class Tree(MemoryFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A store with folders that must be made, in one that is there."""

    protocol = "tree"
    made: ClassVar[list[str]] = ["tree://bucket/models"]

    def mkdir(self, path: str, create_parents: bool = True, **more: object) -> None:
        assert not create_parents
        if path in Tree.made:
            raise FileExistsError(path)
        if path.rpartition("/")[0] not in Tree.made:
            raise FileNotFoundError(path)
        Tree.made.append(path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
        if path.rpartition("/")[0] not in Tree.made:
            raise FileNotFoundError(path)
        super().pipe_file(path, value, mode=mode, **more)


def test_folders_are_made_below_the_url_and_the_place_that_it_names_is_not(tmp_path: Path) -> None:
    fsspec.register_implementation("tree", Tree, clobber=True)
    try:
        one = lay(Registry(folder=tmp_path / "here", url="tree://bucket/models"))
        assert Tree.made[1:] == [f"{Tree.made[0]}/line", f"{Tree.made[0]}/line/{one.digest}"]
        with pytest.raises(Unavailable, match="tree://misspelt/models cannot be reached: FileNotFoundError"):
            lay(Registry(folder=tmp_path / "here", url="tree://misspelt/models"))
    finally:
        MemoryFileSystem.store.clear()


class Slow(MemoryFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A store that does not answer until it is let."""

    protocol = "slow"
    answers = threading.Event()

    def ls(self, path: str, detail: bool = True, **more: object) -> object:
        Slow.answers.wait()
        return super().ls(path, detail=detail, **more)


def test_a_url_that_does_not_answer_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("slow", Slow, clobber=True)
    monkeypatch.setattr(remote, "ANSWER_S", 0.2)
    try:
        with pytest.raises(
            Unavailable, match=r"slow://bucket cannot be reached: TimeoutError: no answer within 0\.2 s"
        ):
            kept(Registry(folder=tmp_path, url="slow://bucket"))
    finally:
        Slow.answers.set()


def test_a_driver_that_is_not_installed_and_a_scheme_that_is_none_are_named(tmp_path: Path) -> None:
    fsspec.register_implementation("far", "nowhere_fs.Store", errtxt="Install nowhere_fs", clobber=True)
    with pytest.raises(
        Unavailable, match="models at far:// need a driver that is not installed: pip install nowhere_fs"
    ):
        kept(Registry(folder=tmp_path, url="far://bucket/models"))
    with pytest.raises(UsageError, match="models cannot lie at sfpt://host/models; did you mean 'sftp'"):
        kept(Registry(folder=tmp_path, url="sfpt://host/models"))


def test_a_url_is_shown_without_its_secrets() -> None:
    url = "sftp://me:p%40ss@host:22/models?key=abc&sig=x%2By"
    assert shown(url) == "sftp://me:***@host:22/models?key=***&sig=***"
    assert hide("p@ss p%40ss abc x+y x%2By me", url) == "*** *** *** *** *** me"
    assert shown("s3://bucket/models") == "s3://bucket/models"
    for unclear in ("sftp://me:pa/ss@host/models", "sftp://me:pa#ss@host/models", "sftp://me:p@ss@host/models"):
        assert shown(unclear) == "sftp://***"
        with pytest.raises(UsageError, match="an '@' or a '#' too many") as raised:
            registry_of(Settings(models=unclear))
        assert "ss@" not in str(raised.value)
    assert "p%40ss" not in repr(Registry(folder=Path("x"), url=url))

"""A registry whose writer is gone between any two steps, or whose disk takes no more: each model is there whole or not
at all, what stood stands, and the next write leaves nothing behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.entry import enter
from runtime.errors import Unavailable, exit_code_of
from runtime.models.registry.by_hand import promote_by_hand, roll_back_by_hand
from runtime.models.registry.place import ASIDE
from runtime.models.registry.promotion import promoted
from runtime.models.registry.store import Registry, find, folder_of, kept, laying_down
from telemetry.events.learn import ModelPromoted
from telemetry.log import open_log
from tests.aether import ROOT, Aether
from tests.disks import fill, remount, small_disk
from tests.registry_acts import ACTS, DIED, LOG, NEW, OLD, at_url, here, id_of, lay
from tests.trained import lived
from world_model.checkpoint import load, save
from world_model.frozen import learn_linear

FEWEST_STEPS = 5
"""That an act takes which writes anything; fewer would mean that its steps are not seen."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, of which the old one stands in a registry."""
    root = tmp_path_factory.mktemp("made")
    for which, share in ((OLD, 0.1), (NEW, 0.2)):
        rest, _ = lived().split(held_out=share, seed=0)
        model = save(root / which, learn_linear(rest, name="line"), landmarks=None, metrics={})
        (root / which / "id").write_text(model)
    lay(here(root), root, OLD)
    open_log(root / LOG).close()
    entry = ModelPromoted(model=id_of(root, OLD), incumbent="greedy@4f6b01aabbcc", figures={})
    enter(str(root / LOG), entry, run="judged")
    assert promote_by_hand(str(root / LOG), here(root), id_of(root, OLD), why="").mended
    return root


Act = Callable[[str, int, Path], int]


@pytest.fixture(scope="module")
def act() -> Iterator[Act]:
    """Does one of `ACTS` in a process that dies at a step, and gives its exit code."""
    command = (sys.executable, "-m", "tests.registry_acts")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answered = process.stdin, process.stdout

        def done(name: str, step: int, root: Path) -> int:
            asked.write(f"{name}\t{step}\t{root}\n")
            asked.flush()
            return int(answered.readline())

        yield done
        asked.close()


def check(registry: Registry, root: Path) -> None:
    """What is listed is whole, the old model is, and what stands is one of the two."""
    ids = {id_of(root, OLD), id_of(root, NEW)}
    there = kept(registry)
    assert id_of(root, OLD) in {one.model for one in there} <= ids
    for one in there:
        assert load(folder_of(registry, one.model)).model_id == one.model
    assert find(registry, "line").model in ids
    assert promoted(registry, "line") is not None


def left_behind(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(ASIDE) or path.name.endswith(".new")]


def outcome(name: str, root: Path) -> tuple[object, ...]:
    """What the act is done by."""
    registry = at_url(root) if name in ("send", "fetch") else here(root)
    cached = sorted(path.name for path in (root / "cache").rglob("config.json")) if name in ("send", "fetch") else []
    with closing(open_log(root / LOG, mode="read")) as log:
        said = [recorded.type for recorded in log.read("model/line")]
    return [(one.model, one.latest, one.promoted) for one in kept(registry)], promoted(registry, "line"), cached, said


@pytest.mark.parametrize("name", ACTS)
def test_gone_before_any_step_nothing_half_is_seen_and_the_same_again_is_done(
    made: Path, tmp_path: Path, act: Act, name: str
) -> None:
    def begun(number: int) -> Path:
        root = tmp_path / str(number)
        shutil.copytree(made, root)
        if name == "promote":
            lay(here(root), root, NEW)
        return root

    whole = begun(0)
    assert act(name, 0, whole) == 0
    expected = outcome(name, whole)
    step = 1
    while (code := act(name, step, root := begun(step))) == DIED:
        if name in ("lay down", "send"):
            check(here(root), root)
        assert load(folder_of(here(root), id_of(root, OLD))).model_id == id_of(root, OLD)
        check(Registry(folder=root / "elsewhere", url=f"file://{root}/models"), root)
        nothing_left = name == "roll back" and outcome(name, root) == expected  # it was done, and is not done twice
        assert act(name, 0, root) == (1 if nothing_left else 0)
        assert outcome(name, root) == expected
        with laying_down(at_url(root) if name in ("send", "fetch") else here(root), "line"):
            pass  # the next write removes what was left
        assert left_behind(root) == []
        step += 1
    assert code == 0
    assert outcome(name, root) == expected
    assert step > FEWEST_STEPS


@pytest.fixture
def disk(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a few small models, and the old one in it, promoted."""
    with small_disk(tmp_path / "disk", size_bytes=1024 * 1024) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        yield folder


def state(registry: Registry) -> object:
    return kept(registry), promoted(registry, "line"), sorted(registry.folder.rglob("*"))


def test_a_full_disk_takes_no_part_of_a_model_nor_of_a_promotion(disk: Path, made: Path, tmp_path: Path) -> None:
    registry, log = here(disk), str(shutil.copy(made / LOG, tmp_path / LOG))
    before = state(registry)
    fill(disk)
    with pytest.raises(Unavailable, match=r"cannot be kept in .*: No space left on device\. Models that were"):
        lay(registry, disk, NEW)
    assert state(registry) == before
    (disk / "filler").unlink()
    lay(registry, disk, NEW)
    before = state(registry)
    fill(disk)
    with pytest.raises(Unavailable, match=r"No space left on device.* The log says so already, at model/line@2"):
        promote_by_hand(log, registry, id_of(disk, NEW), why="")
    assert state(registry) == before
    (disk / "filler").unlink()
    assert promote_by_hand(log, registry, id_of(disk, NEW), why="").mended
    assert roll_back_by_hand(log, registry, "line", why="").model == id_of(disk, OLD)


def test_a_full_cache_takes_no_part_of_a_model_that_is_fetched(disk: Path, made: Path) -> None:
    registry = Registry(folder=disk / "cache", url=f"file://{made}/models")
    fill(disk)
    with pytest.raises(Unavailable, match="No space left on device") as raised:
        folder_of(registry, id_of(made, OLD))
    assert exit_code_of(raised.value) == 6
    (disk / "filler").unlink()
    assert load(folder_of(registry, id_of(made, OLD))).model_id == id_of(made, OLD)


def test_a_read_only_registry_is_read_and_not_written(disk: Path, made: Path, tmp_path: Path) -> None:
    registry, log = here(disk), str(shutil.copy(made / LOG, tmp_path / LOG))
    lay(registry, disk, NEW)
    before = state(registry)
    remount(disk, "ro")
    try:
        with pytest.raises(Unavailable, match="Read-only file system") as raised:
            lay(registry, disk, NEW)
        assert exit_code_of(raised.value) == 6
        assert load(find(registry, "line").folder).model_id == id_of(disk, OLD)
        with pytest.raises(Unavailable, match=r"Read-only file system.* The log says so already, at model/line@2"):
            promote_by_hand(log, registry, id_of(disk, NEW), why="")
        assert state(registry) == before
    finally:
        remount(disk, "rw")
    moved = promote_by_hand(log, registry, id_of(disk, NEW), why="")
    assert (moved.event, moved.mended, promoted(registry, "line")) == (None, True, id_of(disk, NEW))
    assert roll_back_by_hand(log, registry, "line", why="").model == id_of(disk, OLD)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from runtime.errors import Unavailable
from tests.registry_acts import NEW, here, lay

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
try:
    lay(here(Path(sys.argv[1])), Path(sys.argv[1]), NEW)
except Unavailable as error:
    print(error)
"""


def test_a_file_that_may_not_grow_leaves_nothing_without_root(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(made, root)
    before = state(here(root))
    done = subprocess.run([sys.executable, "-c", LIMITED, str(root)], cwd=ROOT, capture_output=True, text=True)
    assert "File too large. Models that were there are intact" in done.stdout, done.stderr
    assert state(here(root)) == before


def test_the_commands_end_with_six_on_a_read_only_registry(disk: Path) -> None:
    aether = Aether()
    try:
        aether.env["AETHER_MODELS"] = str(disk / "models")
        open_log(aether.log).close()
        lay(here(disk), disk, NEW)
        remount(disk, "ro")
        refused = aether("model", "promote", id_of(disk, NEW), "--json")
        assert (refused.code, refused.json["error"]["exit_code"]) == (6, 6)
        assert "Read-only file system" in refused.json["error"]["message"]
        assert [row["promoted"] for row in aether("model", "list", "--json").rows] == [False, True]
    finally:
        remount(disk, "rw")
        aether.remove()

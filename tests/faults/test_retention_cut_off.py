"""A process that archives, removes and puts back is killed at any moment: each session stands, or its archive does."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from telemetry.log.imports import import_archive, import_lines
from telemetry.log.retention.archive import name_of, verify_archive

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
NAMES = ("maze", "refund")
KILLS = 12

WORK = """
import os, sys
from pathlib import Path
from runtime.retention import archive, prune
from telemetry.log import open_log
from telemetry.log.retention.archive import name_of
from telemetry.log.imports import import_archive
log, folder, names = open_log(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
while True:
    for name in names:
        for act in (
            lambda: list(archive(log, [name], folder)),
            lambda: prune(log, name, folder),
            lambda: import_archive(log, folder / name_of(f"session/{name}")),
            lambda: (folder / name_of(f"session/{name}")).unlink(),
        ):
            act()
            os.write(1, b"done\\n")
"""

DIES = """
import os, sys
from pathlib import Path
from runtime.retention import archive, prune
from telemetry.log import open_log
from telemetry.log.retention import prune as pruning
carried_out = pruning.Prune.__call__
def dying(self, tables):
    carried_out(self, tables)
    os._exit(9)
if sys.argv[3] == "before the commit":
    pruning.Prune.__call__ = dying
else:
    Path.replace = lambda *_: os._exit(9)
log, folder = open_log(sys.argv[1]), Path(sys.argv[2])
list(archive(log, ["maze"], folder))
prune(log, "maze", folder)
"""


def make(path: Path) -> dict[str, bytes]:
    """A log of closed sessions; the last hash of each."""
    with closing(open_log(path)) as log:
        for name in NAMES:
            with (GOLDEN / f"{name}.jsonl").open("rb") as file:
                import_lines(log, file)
        return {name: head.hash for name in NAMES if (head := log.head(f"session/{name}")) is not None}


def check(log: EventLog, folder: Path, ends: dict[str, bytes]) -> None:
    """Verifies the log, and brings back whatever is only in an archive."""
    assert log.verify().ok, str(log.verify())
    for name, end in ends.items():
        stream = f"session/{name}"
        if log.removed(stream) is not None:
            path = folder / name_of(stream)
            assert verify_archive(path).hash == end.hex()
            import_archive(log, path)
        head = log.head(stream)
        assert head is not None
        assert head.hash == end
        assert log.verify(streams=[stream]).ok
        (folder / name_of(stream)).unlink(missing_ok=True)
    assert log.verify().ok


def test_killed_at_any_moment_every_session_stands_or_its_archive_does(tmp_path: Path) -> None:
    path, folder, rng = tmp_path / "log.db", tmp_path / "archive", random.Random(5)
    ends = make(path)
    for _ in range(KILLS):
        command = [sys.executable, "-c", WORK, str(path), str(folder), *NAMES]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as working:
            assert working.stdout is not None
            for _ in range(rng.randrange(1, 10)):
                assert working.stdout.readline() == b"done\n"
            working.send_signal(signal.SIGKILL)
        with closing(open_log(path)) as log:
            check(log, folder, ends)


@pytest.mark.parametrize("when", ["before the rename", "before the commit"])
def test_dying_before_the_archive_or_the_removal_is_done_leaves_all_as_it_was(tmp_path: Path, when: str) -> None:
    path, folder = tmp_path / "log.db", tmp_path / "archive"
    ends = make(path)
    command = [sys.executable, "-c", DIES, str(path), str(folder), when]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9
    archived = folder / name_of("session/maze")
    assert archived.exists() == (when == "before the commit")
    with closing(open_log(path)) as log:
        assert log.removed("session/maze") is None
        assert log.position() == 290
        check(log, folder, ends)

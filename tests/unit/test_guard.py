"""A room that comes from somewhere else than ours stops everything before it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.guard import ROOMS, check_rooms

ROOT = Path(__file__).parents[2]


def test_our_own_rooms_pass() -> None:
    check_rooms()


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "runtime"])
def test_a_room_of_another_distribution_is_named_with_where_it_comes_from(tmp_path: Path, room: str) -> None:
    """The foreign folder stands first on the path, and `runtime` is ours."""
    (tmp_path / room).mkdir()
    (tmp_path / room / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runtime.errors, runtime.guard as g;"
        f"[sys.modules.pop(m) for m in list(sys.modules) if m.partition('.')[0] == {room!r}];"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "try: g.check_rooms()\n"
        "except g.UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"the package {room!r} comes from {tmp_path.resolve()}, not from {ROOT}" in done.stdout
    assert "Nothing was started" in done.stdout

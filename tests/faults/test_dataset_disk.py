"""A dataset for which there is no room leaves nothing of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from telemetry.datasets.build import build
from telemetry.datasets.recipe import Format, Recipe
from telemetry.errors import DatasetUnwritable
from tests.disks import remount, small_disk
from tests.views import Views, moves_table, sessions_table

NAMES = [f"s{number}" for number in range(40)]
RECIPE = Recipe(
    name="moves",
    query="SELECT session, sources AS events, step, reward, seen, action, sha256(session || step) AS noise FROM moves",
    json_fields=("action",),
)


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv", "huggingface"])
def test_a_full_disk_ends_a_build_and_has_its_room_again(tmp_path: Path, format_: Format) -> None:
    views = Views(sessions=sessions_table(NAMES), moves=moves_table(NAMES, each=200))
    recipe = RECIPE.model_copy(update={"format": format_})
    with small_disk(tmp_path / "disk", size_bytes=128 * 1024) as disk:
        free = os.statvfs(disk).f_bavail
        with pytest.raises(DatasetUnwritable, match="No space left"):
            build(recipe, views.pin, out=disk / "moves", threads=2)
        assert list(disk.iterdir()) == []
        assert os.statvfs(disk).f_bavail == free


def test_a_disk_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    views = Views(sessions=sessions_table(NAMES), moves=moves_table(NAMES, each=2))
    with small_disk(tmp_path / "disk", size_bytes=1024 * 1024) as disk:
        remount(disk, "ro")
        with pytest.raises(DatasetUnwritable, match="Read-only"):
            build(RECIPE, views.pin, out=disk / "moves", threads=2)

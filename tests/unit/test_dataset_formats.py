"""The folder of every format is what other people's loaders take, without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from telemetry.datasets import formats
from telemetry.datasets.build import build
from telemetry.datasets.recipe import Format, Recipe
from tests.views import Views, moves_table, sessions_table

NAMES = [f"s{number}" for number in range(20)]
TALK = """
SELECT session, sources AS events, step, outcome,
    '[{"role":"assistant","tool_calls":[{"function":{"arguments":{"key' || step || '":[1,null]}}}]}]' AS messages
FROM moves
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the loader keeps what it made of files; the hub itself is out of reach."""
    for name, value in (("HF_HOME", str(tmp_path / "hub")), ("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1")):
        monkeypatch.setenv(name, value)
    return tmp_path / "hub"


@pytest.mark.parametrize("format_", ["huggingface", "parquet", "jsonl", "csv"])
def test_load_dataset_reads_the_splits_of_any_format(tmp_path: Path, hub: Path, format_: Format) -> None:
    import datasets

    recipe = Recipe(name="talk", query=TALK, json_fields=("messages",), format=format_)
    views = Views(sessions=sessions_table(NAMES), moves=moves_table(NAMES, each=20))
    made = build(recipe, views.pin, out=tmp_path / "talk", threads=2)
    found = datasets.load_dataset(str(made.folder), cache_dir=str(hub))
    assert {split: len(rows) for split, rows in found.items()} == {
        split: counts.rows for split, counts in made.manifest.splits.items()
    }
    assert set(found["train"].column_names) == {"session", "events", "step", "outcome", "messages", "split"}


def test_messages_come_back_with_just_the_keys_that_they_had(tmp_path: Path, hub: Path) -> None:
    import datasets

    recipe = Recipe(name="talk", query=TALK, json_fields=("messages",), format="huggingface")
    views = Views(sessions=sessions_table(NAMES), moves=moves_table(NAMES, each=20))
    folder = build(recipe, views.pin, out=tmp_path / "talk", threads=2).folder
    for row in datasets.load_dataset(str(folder), split="test", cache_dir=str(hub)):
        said = row["messages"][0]
        assert said == {
            "role": "assistant",
            "tool_calls": [{"function": {"arguments": {f"key{row['step']}": [1, None]}}}],
        }


def test_a_large_split_is_cut_into_shards_that_say_how_many_there_are(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(formats, "SHARD_BYTES", 1)
    monkeypatch.setattr("telemetry.datasets.groups.GROUP_ROWS", 100)
    recipe = Recipe(name="talk", query=TALK, json_fields=("messages",), format="huggingface")
    views = Views(sessions=sessions_table(NAMES), moves=moves_table(NAMES, each=50))
    made = build(recipe, views.pin, out=tmp_path / "talk", threads=2)
    count = -(-made.manifest.splits["train"].rows // 100)
    names = sorted(path.name for path in (made.folder / "data").glob("train-*"))
    assert names == [f"train-{number:05}-of-{count:05}.parquet" for number in range(count)]
    found = datasets.load_dataset(str(made.folder), split="train", cache_dir=str(hub))
    lines = build(
        recipe.model_copy(update={"format": "jsonl"}), views.pin, out=tmp_path / "lines", threads=1
    ).folder.joinpath("train.jsonl")
    steps = [json.loads(line)["step"] for line in lines.read_text(encoding="utf-8").splitlines()]
    assert found["step"][:] == steps

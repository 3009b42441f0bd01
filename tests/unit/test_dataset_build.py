"""A dataset is the same whoever builds it from the same pin, and it stands whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from telemetry.datasets.build import Built, Pin, build
from telemetry.datasets.folder import aside
from telemetry.datasets.manifest import NAME, read_manifest
from telemetry.datasets.recipe import Format, Parameter, Recipe, Split
from telemetry.datasets.rows import Rows
from telemetry.errors import DatasetDamaged, DatasetExists, DatasetUnwritable, RecipeRefused
from tests.views import AT, LOG, Views, moves_table, sessions_table

NAMES = [f"s{number}" for number in range(20)]
RECIPE = Recipe(
    name="moves",
    query="SELECT session, sources AS events, step, reward, seen, action, outcome FROM moves WHERE step < $most",
    parameters={"most": 40},
    json_fields=("action",),
    classes=("outcome",),
    format="jsonl",
)
TABLES = {"sessions": sessions_table(NAMES), "moves": moves_table(NAMES, each=50)}


def built(out: Path, *, recipe: Recipe = RECIPE, views: Views | None = None, threads: int = 2) -> Built:
    return build(recipe, (views or Views(**TABLES)).pin, out=out, threads=threads)


def rows_in(folder: Path) -> dict[str, list[dict[str, object]]]:
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in folder.glob("*.jsonl")
    }


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_row_names_its_session_its_events_and_its_split(tmp_path: Path) -> None:
    made = built(tmp_path / "moves")
    found = rows_in(made.folder)
    assert sum(map(len, found.values())) == made.manifest.rows == 20 * 40
    for split, rows in found.items():
        for row in rows:
            assert row["split"] == split
            assert row["events"] == [f"session/{row['session']}@{row['step'] * 2 + n}" for n in (1, 2)]  # type: ignore[operator]  # a step is an int


def test_no_session_is_in_two_splits(tmp_path: Path) -> None:
    found = rows_in(built(tmp_path / "moves").folder)
    assert set(found) == {"train", "validation", "test"}
    sessions = [{row["session"] for row in rows} for rows in found.values()]
    assert sum(map(len, sessions)) == len(set[object]().union(*sessions)) == 20


def test_a_fork_is_in_the_split_of_the_session_it_was_forked_from(tmp_path: Path) -> None:
    roots = {name: NAMES[number // 4 * 4] for number, name in enumerate(NAMES)}
    views = Views(sessions=sessions_table(NAMES, roots=roots), moves=TABLES["moves"])
    for rows in rows_in(built(tmp_path / "moves", views=views).folder).values():
        here = {str(row["session"]) for row in rows}
        assert here == {name for name in NAMES if roots[name] in here}


def test_all_sessions_of_a_person_are_in_one_split_where_it_is_by_subject(tmp_path: Path) -> None:
    subjects = {name: f"person {number % 7}" for number, name in enumerate(NAMES) if number}
    recipe = RECIPE.model_copy(update={"split": Split(by="subject", shares={"train": 0.5, "test": 0.5})})
    views = Views(sessions=sessions_table(NAMES, subjects=subjects), moves=TABLES["moves"])
    found = rows_in(built(tmp_path / "moves", recipe=recipe, views=views).folder)
    people = [{subjects.get(str(row["session"]), "nobody") for row in rows} for rows in found.values()]
    assert len(people) == 2
    assert not people[0] & people[1]


def test_the_digest_is_of_the_rows_alone_not_of_threads_batches_format_or_the_order_they_came_in(
    tmp_path: Path,
) -> None:
    first = built(tmp_path / "first").manifest
    backwards = TABLES["moves"].take(pa.array(range(len(TABLES["moves"]) - 1, -1, -1)))
    for number, (threads, batch, moves) in enumerate([(1, 7, TABLES["moves"]), (3, 100_000, backwards)]):
        views = Views(threads=threads, batch=batch, sessions=TABLES["sessions"], moves=moves)
        again = built(tmp_path / str(number), views=views, threads=threads)
        assert content(again.folder) == content(tmp_path / "first")
    formats: tuple[Format, ...] = ("parquet", "csv", "huggingface")
    for format_ in formats:
        recipe = RECIPE.model_copy(update={"format": format_})
        assert built(tmp_path / format_, recipe=recipe).manifest.digest == first.digest


def test_rows_with_the_same_events_stand_in_one_order(tmp_path: Path) -> None:
    moves = moves_table(["s1"], each=50)
    alike = moves.set_column(1, "sources", pa.array([["session/s1@1"]] * 50))
    backwards = alike.take(pa.array(range(49, -1, -1)))
    found = [
        built(tmp_path / str(number), views=Views(sessions=sessions_table(["s1"]), moves=table)).manifest.digest
        for number, table in enumerate((alike, backwards))
    ]
    assert found[0] == found[1]


def test_the_digest_is_what_sha256sum_says_of_the_json_lines(tmp_path: Path) -> None:
    made = built(tmp_path / "moves")
    sha = hashlib.sha256()
    for split in RECIPE.split.shares:
        sha.update((made.folder / f"{split}.jsonl").read_bytes())
    assert sha.hexdigest() == made.manifest.digest


def test_another_value_anywhere_is_another_digest(tmp_path: Path) -> None:
    first = built(tmp_path / "first").manifest.digest
    rewards = TABLES["moves"].column("reward").to_pylist()
    rewards[777] += 1e-15
    moves = TABLES["moves"].set_column(3, "reward", pa.array(rewards))
    views = Views(sessions=TABLES["sessions"], moves=moves)
    assert built(tmp_path / "second", views=views).manifest.digest != first


def test_manifest_and_card_count_rows_sessions_classes_and_what_is_missing(tmp_path: Path) -> None:
    made = built(tmp_path / "moves")
    assert read_manifest(made.folder) == made.manifest
    splits = made.manifest.splits
    assert (made.manifest.log, made.manifest.pinned_position) == (LOG, AT)
    assert sum(split.rows for split in splits.values()) == 800
    assert sum(split.sessions for split in splits.values()) == 20
    assert sum(split.missing["outcome"] for split in splits.values()) == 13 * 20
    assert sum(split.classes["outcome"]["failed"] for split in splits.values()) == 13 * 20
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert "| `outcome` | string | 260 |" in card
    assert "| `failed` |" in card
    assert made.manifest.digest in card


def test_sessions_that_judge_models_are_left_out_and_counted_unless_the_recipe_takes_them(tmp_path: Path) -> None:
    views = Views(sessions=sessions_table(NAMES, purposes={"s3": "evaluation"}), moves=TABLES["moves"])
    made = built(tmp_path / "without", views=views)
    assert (made.manifest.evaluations.rows, made.manifest.evaluations.sessions) == (40, 1)
    assert "s3" not in {row["session"] for rows in rows_in(made.folder).values() for row in rows}
    assert "40 rows of 1 sessions left out" in (made.folder / "README.md").read_text(encoding="utf-8")
    taken = built(tmp_path / "with", recipe=RECIPE.model_copy(update={"evaluations": True}), views=views)
    assert taken.manifest.rows == made.manifest.rows + 40


class OnlyOf:
    """Keeps rows about a person."""

    name = "only-of"

    def __init__(self, person: str) -> None:
        self._person = person
        self.events: list[str] = []

    def keep(self, rows: Rows) -> pa.BooleanArray:
        self.events += [event for events in rows.events.to_pylist() for event in events]
        return pa.array([self._person in subjects for subjects in rows.subjects.to_pylist()])


def test_a_filter_sees_whom_each_row_is_about_and_where_it_came_from_before_it_is_written(tmp_path: Path) -> None:
    subjects = {name: "ada" if number % 2 else "bo" for number, name in enumerate(NAMES)}
    views = Views(sessions=sessions_table(NAMES, subjects=subjects), moves=TABLES["moves"])
    keep = OnlyOf("ada")
    made = build(RECIPE, views.pin, out=tmp_path / "moves", threads=2, keep=keep)
    sessions = {str(row["session"]) for rows in rows_in(made.folder).values() for row in rows}
    assert sessions == {name for name in NAMES if subjects[name] == "ada"}
    assert len(keep.events) == 2 * 800
    assert (made.manifest.filter.name, made.manifest.filter.rows) == ("only-of", 400)


def test_the_query_can_say_whom_a_row_is_about(tmp_path: Path) -> None:
    query = "SELECT session, sources AS events, CASE WHEN step = 1 THEN ['eve'] END AS subjects FROM moves"
    keep = OnlyOf("eve")
    recipe = Recipe(name="moves", query=query, format="jsonl")
    made = build(recipe, Views(**TABLES).pin, out=tmp_path / "moves", threads=1, keep=keep)
    assert made.manifest.rows == 20


def test_the_same_again_changes_nothing_and_anything_else_is_refused(tmp_path: Path) -> None:
    made = built(tmp_path / "moves")
    before = content(made.folder)
    assert not built(tmp_path / "moves").new
    with pytest.raises(DatasetExists, match="was not touched"):
        built(tmp_path / "moves", recipe=RECIPE.model_copy(update={"parameters": {"most": 39}}))
    assert content(made.folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["moves"]


def test_a_folder_of_other_things_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose")

    def never(sql: str, parameters: Mapping[str, Parameter]) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        raise AssertionError(sql)

    with pytest.raises(DatasetExists):
        build(RECIPE, Pin(LOG, AT, never), out=tmp_path / "mine", threads=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "moves").mkdir()
    assert built(tmp_path / "moves").new


def test_the_same_dataset_that_was_altered_since_is_told(tmp_path: Path) -> None:
    made = built(tmp_path / "moves")
    with (made.folder / "train.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(DatasetDamaged, match=r"train\.jsonl"):
        built(tmp_path / "moves")


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(RECIPE, Views(**TABLES).pin, out=tmp_path / "moves", threads=2, told=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left, at_once = tmp_path / ".moves.building-1234", tmp_path / ".moves.building-5678"
    (left / "moves").mkdir(parents=True)
    (left / "lock").touch()
    at_once.mkdir()  # it was killed before it had its lock
    built(tmp_path / "moves")
    assert [path.name for path in tmp_path.iterdir()] == ["moves"]


def test_builds_that_begin_side_by_side_take_no_folder_of_each_other(tmp_path: Path) -> None:
    def begin(_: int) -> None:
        with aside(tmp_path / "moves") as folder:
            (folder / "row").touch()
            assert [path.name for path in folder.iterdir()] == ["row"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(begin, range(400))) == [None] * 400
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetUnwritable, match="Nothing of it was left"):
        built(tmp_path / "file" / "moves")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query": "SELECT session, step FROM moves"}, "must give a column 'events'"),
        ({"query": "SELECT session, step AS events FROM moves"}, "must give a column 'events'"),
        ({"query": "SELECT sources AS events FROM moves"}, "must give a column 'session'"),
        ({"query": "SELECT session, sources AS events, step AS split FROM moves"}, "'split'"),
        ({"query": "SELECT session, [] :: VARCHAR[] AS events FROM moves"}, "no session or no events"),
        ({"classes": ("outcom",)}, "did you mean 'outcome'"),
        ({"json_fields": ("actions",)}, "did you mean 'action'"),
        ({"fields": {"rewards": "what it brought"}}, "did you mean 'reward'"),
        ({"json_fields": ("outcome",)}, "cannot be written as JSON"),
        ({"json_fields": ("seen",)}, "which is no text"),
        (
            {"query": "SELECT session, sources AS events, INTERVAL 1 DAY AS x FROM moves"},
            "no format of a dataset holds",
        ),
        ({"query": "SELECT session, sources AS events, MAP {'a': 1} AS x FROM moves"}, "no format of a dataset holds"),
        ({"query": "SELECT session, sources AS events, [{'a': 'x'::BLOB}] AS x FROM moves"}, "no format of a dataset"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_and_leaves_nothing(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    recipe = Recipe.model_validate({"name": "moves", "query": RECIPE.query, "parameters": RECIPE.parameters} | changes)
    with pytest.raises(RecipeRefused, match=words):
        built(tmp_path / "moves", recipe=recipe)
    assert list(tmp_path.iterdir()) == []


TYPES = """
SELECT session, sources AS events, step % 2 = 0 AS flag, step::UTINYINT AS small, step::DECIMAL(9, 2) AS money,
    DATE '2026-11-26' + step::INTEGER AS day, TIMESTAMPTZ '2026-11-26 05:00:00+01' AS at_, TIME '12:00:00' AS hour,
    {'x': step, 'why': [outcome]} AS both, [[step]] AS deep, NULL AS nothing
FROM moves
"""


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv", "huggingface"])
def test_numbers_times_lists_and_structs_are_held_by_every_format(tmp_path: Path, format_: Format) -> None:
    recipe = Recipe(name="types", query=TYPES, format=format_, split=Split(shares={"train": 1}))
    made = built(tmp_path / "types", recipe=recipe)
    assert made.manifest.rows == 1000
    assert (
        made.manifest.digest
        == built(tmp_path / "lines", recipe=recipe.model_copy(update={"format": "jsonl"})).manifest.digest
    )
    first = json.loads((tmp_path / "lines" / "train.jsonl").read_text().splitlines()[0])
    assert {name: first[name] for name in ("day", "at_", "both", "nothing")} == {
        "day": "2026-11-26",
        "at_": "2026-11-26 04:00:00+00",
        "both": {"x": 0, "why": ["succeeded"]},
        "nothing": None,
    }


def test_a_dataset_without_rows_is_one(tmp_path: Path) -> None:
    made = built(tmp_path / "moves", recipe=RECIPE.model_copy(update={"parameters": {"most": 0}}))
    assert (made.manifest.rows, made.manifest.files) == (0, ())
    assert made.manifest.digest == hashlib.sha256().hexdigest()
    assert (made.folder / NAME).exists()


def test_parquet_keeps_types_and_holds_json_as_json(tmp_path: Path) -> None:
    made = built(tmp_path / "moves", recipe=RECIPE.model_copy(update={"format": "parquet"}))
    table = parquet.read_table(made.folder / "train.parquet")
    assert str(table.schema.field("action").type) == "extension<arrow.json>"
    assert table.schema.field("seen").type.value_type == pa.float32()
    assert json.loads(table.column("action")[0].as_py())["kind"] == "move"

"""A dataset as people ask for it: by a recipe's name or file, with their parameters, from recorded sessions."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from runtime.errors import NotFound, RuntimeFailure, UsageError
from runtime.settings import Settings
from runtime.telemetry.datasets import build, changed, entries, known, page, wanted
from telemetry.datasets.recipe import Recipe
from telemetry.errors import InvalidQuery, QueryRefused, TelemetryError
from telemetry.events.learn import DatasetBuilt
from telemetry.events.values import EventId
from telemetry.log import open_log
from telemetry.log.imports import import_lines
from telemetry.query.engine import Limits
from telemetry.query.rows.catalogue import KINDS

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MOVES = "SELECT session, sources AS events, outcome FROM actions"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Their log holds a lava grid."""
    log = tmp_path / "home" / "log.db"
    log.parent.mkdir()
    with closing(open_log(log)) as opened, (GOLDEN / "lava.jsonl").open("rb") as lines:
        import_lines(opened, lines)
    return Settings(home=log.parent, log=str(log))


def asked(settings: Settings, recipe: Recipe, out: Path, *, at: int | None = None) -> tuple[DatasetBuilt, EventId]:
    done = build(
        settings,
        recipe,
        at=at,
        out=out,
        limits=Limits(threads=2),
        seen=lambda *_: None,
        told=lambda _: None,
        said=lambda _: None,
    )
    with closing(open_log(str(settings.log), mode="read")) as log:
        newest = next(entries(log, recipe.name))
    assert newest.event == done.event
    return newest.built, done.event


def test_what_was_built_stands_on_the_log_once(settings: Settings, tmp_path: Path) -> None:
    recipe = wanted("world-modelling").recipe
    built, event = asked(settings, recipe, tmp_path / "a")
    assert (built.rows, built.pinned_position, built.recipe) == (4, 142, recipe.id)
    assert event == "dataset/world-modelling@1"
    assert asked(settings, recipe, tmp_path / "a") == (built, event)
    assert asked(settings, recipe, tmp_path / "b", at=142) == (built, event)
    earlier, _ = asked(settings, recipe, tmp_path / "c", at=100)
    assert earlier.rows < built.rows
    with closing(open_log(str(settings.log), mode="read")) as log:
        assert [one.built.pinned_position for one in known(log, "world-modelling")] == [100, 142]
        assert [one.built.pinned_position for one in page(log, limit=10)[0]] == [100]
        with pytest.raises(NotFound, match="did you mean 'world-modelling'"):
            known(log, "world-modeling")


def test_every_column_of_a_view_may_be_asked_for_by_its_bare_name(settings: Settings, tmp_path: Path) -> None:
    columns = ", ".join(column.name for column in KINDS["events"].columns)
    recipe = Recipe(name="events", query=f"SELECT {columns}, [event] AS events FROM events")
    built, _ = asked(settings, recipe, tmp_path / "events")
    assert built.rows == 142


def test_rows_as_of_a_position_are_those_that_stood_then_however_far_the_log_has_come(
    settings: Settings, tmp_path: Path
) -> None:
    recipe = wanted("active-inference").recipe
    before, _ = asked(settings, recipe, tmp_path / "before", at=100)
    with closing(open_log(str(settings.log))) as log, (GOLDEN / "refund.jsonl").open("rb") as lines:
        import_lines(log, lines)
    after, _ = asked(settings, recipe, tmp_path / "after", at=100)
    assert after == before


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (f"{MOVES}) AS found, (SELECT 1", InvalidQuery),
        ("COPY actions TO 'x'", QueryRefused),
        ("SELECT session, sources AS events FROM read_csv('/etc/passwd')", QueryRefused),
        (f"{MOVES}; DROP TABLE actions", TelemetryError),
        (MOVES.replace("outcome", "random() AS x"), InvalidQuery),
        (MOVES.replace("outcome", "outcme"), InvalidQuery),
        (f"{MOVES} LIMIT 3", InvalidQuery),
    ],
)
def test_a_query_that_is_none_or_answers_otherwise_another_time_is_refused(
    settings: Settings, tmp_path: Path, query: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        asked(settings, Recipe(name="moves", query=query), tmp_path / "out" / "moves")
    assert not (tmp_path / "out").exists()


def test_a_recipe_of_a_file_is_told_by_line_and_nearest_key_where_it_cannot_be_meant(tmp_path: Path) -> None:
    file = tmp_path / "moves.toml"
    file.write_text(f'name = "moves"\nquery = "{MOVES}"\n[split]\nsede = 1\n')
    with pytest.raises(UsageError, match=r"moves\.toml:4: unknown key 'split\.sede'; did you mean 'seed'"):
        wanted(str(file))
    file.write_text("name = ")
    with pytest.raises(UsageError, match="is not TOML"):
        wanted(str(file))


def test_a_folder_that_is_called_as_a_recipe_does_not_stand_in_for_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked(settings, wanted("world-modelling").recipe, tmp_path / "world-modelling", at=100)
    assert wanted("world-modelling").at is None
    assert wanted("./world-modelling").at == 100


@pytest.mark.parametrize(
    ("name", "words"),
    [("conversations", "did you mean 'conversation'"), ("there/none.toml", "Shipped ones: active-inference")],
)
def test_a_recipe_that_is_not_there_is_told_with_those_that_are(name: str, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        wanted(name)


def test_parameters_keep_the_types_that_the_recipe_gave_them() -> None:
    recipe = Recipe(name="a", query="SELECT $n, $x, $ok, $who", parameters={"n": 1, "x": 0.5, "ok": True, "who": "a"})
    given = ["n=3", "x=2", "ok=false", "who=b=c"]
    found = changed(recipe, parameters=given, seed=7, format_="csv")
    assert found.parameters == {"n": 3, "x": 2.0, "ok": False, "who": "b=c"}
    assert (found.split.seed, found.format) == (7, "csv")


@pytest.mark.parametrize(
    ("given", "words"),
    [("m=1", "known here: n"), ("n", "NAME=VALUE"), ("n=one", "has a int there")],
)
def test_a_parameter_that_cannot_be_set_is_told(given: str, words: str) -> None:
    recipe = Recipe(name="a", query="SELECT $n", parameters={"n": 1})
    with pytest.raises(RuntimeFailure, match=words):
        changed(recipe, parameters=[given], seed=None, format_=None)

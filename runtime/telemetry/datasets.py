"""Datasets as people ask for them: a recipe by its name or file, built from a log, and what the log says of it.

Knows settings, recipes' files and the log's words; how a dataset is built lies in `telemetry.datasets`. Invariant: the
log says of no dataset that it was built before the whole of it stands in its folder."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from runtime.entry import DATASETS, Said, enter_kept, stream_of_dataset
from runtime.errors import NotFound, UsageError
from runtime.explain import explain_validation, nearest
from runtime.settings import Settings, in_upload, log_url
from runtime.telemetry.traces import traces_url
from telemetry.datasets.recipe import Format, Parameter, Recipe, parse, shipped
from telemetry.errors import PayloadWithheld
from telemetry.events.learn import DatasetBuilt
from telemetry.events.values import EventId
from telemetry.log import EventLog, open_log

if TYPE_CHECKING:
    from telemetry.datasets.build import Built
    from telemetry.query.engine import Limits

BUILT = "learn.dataset_built"


class Wanted(NamedTuple):
    """A recipe, and the position that it is to be run at; None: the log's last."""

    recipe: Recipe
    at: int | None


def wanted(named: str) -> Wanted:
    """The shipped recipe of that name, that of a file, or that of a dataset's folder with the position that it was
    built at. Raises `UsageError` with file, line and the nearest key for a recipe that cannot be meant, `NotFound`."""
    path = Path(named)
    if is_folder(named):
        from telemetry.datasets.manifest import read_manifest

        manifest = read_manifest(path)
        return Wanted(manifest.recipe, manifest.pinned_position)
    there = shipped()
    if path.suffix != ".toml" and path.name == named:
        if named not in there:
            raise NotFound(f"there is no recipe {named!r}{nearest(named, tuple(there))}")
        path = there[named]
    recipe = read_recipe(path)
    return Wanted(recipe, recipe.at)


def is_folder(named: str) -> bool:
    """Whether a dataset's folder is meant; one that is called as a shipped recipe is meant by `./NAME`."""
    return Path(named).is_dir() and named not in shipped()


def read_recipe(path: Path) -> Recipe:
    """Raises `UsageError` with file, line and the nearest known key for anything that cannot be meant."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no recipe {path}. Shipped ones: {', '.join(shipped())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} cannot be read: {error}") from error
    try:
        return parse(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(explain_validation(error, Recipe, text=text, source=str(path))) from error


def changed(recipe: Recipe, *, parameters: Sequence[str] = (), seed: int | None, format_: Format | None) -> Recipe:
    """The recipe with `NAME=VALUE` for its parameters, of the types that they have. Raises `UsageError`."""
    values = dict(recipe.parameters)
    for given in parameters:
        name, equals, value = given.partition("=")
        if not equals:
            raise UsageError(f"{given!r} sets nothing; write --set NAME=VALUE")
        if name not in values:
            known = tuple(values)
            hint = nearest(name, known) if known else "; it has none"
            raise UsageError(f"the recipe {recipe.name} has no parameter {name!r}{hint}")
        values[name] = _of_type(name, value, values[name])
    split = recipe.split if seed is None else recipe.split.model_copy(update={"seed": seed})
    return recipe.model_copy(update={"parameters": values, "split": split, "format": format_ or recipe.format})


def _of_type(name: str, text: str, like: Parameter) -> Parameter:
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(like)(text)
    except (ValueError, KeyError):
        raise UsageError(f"--set {name}={text}: the recipe has a {type(like).__name__} there, such as {like}") from None


class Done(NamedTuple):
    built: Built
    event: EventId
    """`learn.dataset_built`."""


def build(
    settings: Settings,
    recipe: Recipe,
    *,
    at: int | None,
    out: Path | None,
    limits: Limits,
    seen: Callable[[int, int], None],
    told: Callable[[int], None],
    said: Said,
) -> Done:
    """Builds `recipe` from the log at `at`, in `out` or in this folder under its name and position, and enters that in
    the log. `seen` hears how many events were made into rows and of how many, `told` how many rows are written. Raises
    what building raises, and `Unavailable` where the dataset is kept and the log takes no word of it."""
    from telemetry.datasets.build import build as built
    from telemetry.datasets.pinned import pinned

    url = log_url(settings)
    with closing(open_log(url, mode="read")) as log:
        traces = traces_url(log, settings)
        with pinned(log, at=at, traces=traces, limits=limits, seen=seen) as pin:
            folder = _folder(out or Path(f"{recipe.name}-at-{pin.position}"))
            made = built(recipe, pin, out=folder, threads=limits.threads or 1, told=told)
    manifest = made.manifest
    entry = DatasetBuilt(
        recipe=manifest.recipe.id,
        pinned_position=manifest.pinned_position,
        rows=manifest.rows,
        digest=manifest.digest,
    )
    event = enter_kept(
        url,
        entry,
        what=f"the dataset in {folder}",
        again="The same command enters it, and builds nothing anew",
        run=f"{manifest.digest}.{manifest.recipe_digest[:12]}.{manifest.pinned_position}",
        said=said,
    )
    return Done(made, event)


def _folder(out: Path) -> Path:
    folder = Path.cwd() / out.expanduser()
    if in_upload(folder):
        raise UsageError(
            f"the dataset would lie in this job's upload ({folder}), which Ray deletes with the job. Give --out "
            "a folder outside it"
        )
    return folder


class Entry(NamedTuple):
    """What the log says of a dataset that was built at `at` (UTC, ns)."""

    event: EventId
    at: int
    built: DatasetBuilt


def entries(log: EventLog, name: str) -> Iterator[Entry]:
    """The builds of the dataset `name`, newest first."""
    for recorded in log.read_back(stream_of_dataset(name), types=(BUILT,)):
        if isinstance(recorded.event, DatasetBuilt):
            yield Entry(recorded.id, recorded.at, recorded.event)


def page(
    log: EventLog, *, after: str = "", limit: int, untold: Callable[[str], None] = lambda _: None
) -> tuple[list[Entry], str | None]:
    """The newest builds of up to `limit` datasets in the order of their names, and the name to continue after. `untold`
    hears of each that is left out, as what the log says of its newest build is withheld."""
    heads = log.heads(prefix=DATASETS, after=DATASETS + after if after else "", limit=limit + 1)
    names = [head.stream.removeprefix(DATASETS) for head in heads]
    found: list[Entry] = []
    for name in names[:limit]:
        try:
            found += islice(entries(log, name), 1)
        except PayloadWithheld:
            untold(name)
    return found, names[limit - 1] if len(names) > limit else None


def known(log: EventLog, name: str) -> list[Entry]:
    """The builds of `name`. Raises `NotFound` with the nearest name where there is none."""
    found = list(entries(log, name))
    if not found:
        names = [head.stream.removeprefix(DATASETS) for head in log.heads(prefix=DATASETS)]
        hint = nearest(name, names) if names else ". Build one: aether dataset build NAME"
        raise NotFound(f"the log {log.name} says of no dataset {name!r} that it was built{hint}")
    return found

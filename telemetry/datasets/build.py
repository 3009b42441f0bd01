"""A dataset from its recipe: selected, filtered, counted, digested, written, described.

Knows the order of these; how each is done lies beside it. Invariant: digest, counts and files see the same rows, in the
same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from telemetry.datasets import card, manifest
from telemetry.datasets.canonical import FORM, Canonical, Digesting
from telemetry.datasets.columns import SPLIT
from telemetry.datasets.counting import Counting
from telemetry.datasets.folder import aside, put, taken
from telemetry.datasets.formats import Files
from telemetry.datasets.groups import Group, gathered, grouped
from telemetry.datasets.manifest import FieldFound, Filtered, LeftOut, Manifest, altered, read_manifest
from telemetry.datasets.recipe import Recipe
from telemetry.datasets.rows import Everything, Filter, Lines, Rows, Written, type_name
from telemetry.datasets.select import Ask, Selected, schema_of, selection
from telemetry.errors import DatasetDamaged
from telemetry.files import write_file

MEANINGS: Final = {
    "session": "The session that the row is of.",
    "events": "Ids of the events that the row came from.",
    "split": "The split that the row is in.",
}
"""Of fields that every dataset has, where a recipe says nothing of them."""

VERSIONS: Final = ("duckdb", "pyarrow")

Told = Callable[[int], None]


class Pin(NamedTuple):
    """A log as it stood at a position. `ask` answers for it."""

    log: str
    """Its id."""
    position: int
    ask: Ask


@dataclass(frozen=True, slots=True)
class Built:
    manifest: Manifest
    folder: Path
    new: bool
    """False where the same rows stood there already, and `manifest` is theirs."""


def build(
    recipe: Recipe,
    pin: Pin,
    *,
    out: Path,
    threads: int,
    keep: Filter | None = None,
    told: Told = lambda _: None,
) -> Built:
    """Builds what `recipe` makes of the log at `pin`, as the folder `out`. `told` hears how many rows are written, as
    they are.

    Raises `RecipeRefused`, `DatasetExists` where `out` holds something else, `DatasetDamaged` where it holds the same
    and was altered, `DatasetUnwritable`. However it ends early, what stood at `out` stands there still."""
    _check_free(out)
    schema = schema_of(pin.ask, recipe)
    with aside(out) as folder:
        making = _Making(folder, recipe, pin, schema, keep or Everything(), threads=threads)
        made = making.write(told)
        if not _is_free(out):
            return Built(_same(out, made), out, new=False)
        put(folder, out)
    return Built(made, out, new=True)


def _is_free(out: Path) -> bool:
    return not out.exists() or (out.is_dir() and not any(out.iterdir()))


def _check_free(out: Path) -> None:
    """Before anything is read: what is no dataset is never compared with one."""
    if not _is_free(out) and not (out / manifest.NAME).is_file():
        raise taken(out)


def _same(out: Path, made: Manifest) -> Manifest:
    """What says of the dataset in `out` that it is this one; it may have been built at another position."""
    there = read_manifest(out)
    if (there.digest, there.format) != (made.digest, made.format):
        raise taken(out)
    if gone := altered(out, there):
        raise DatasetDamaged(
            f"the dataset in {out} has the same digest and was altered since: {', '.join(gone)}. Remove it, and build "
            "it again"
        )
    return there


class _Making:
    """One build, in `folder`."""

    def __init__(
        self, folder: Path, recipe: Recipe, pin: Pin, schema: pa.Schema, keep: Filter, *, threads: int
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        self._pin = pin
        self._own = schema
        self._schema = schema.append(pa.field(SPLIT, pa.string()))
        self._keep = keep
        self._threads = threads
        self._counting = Counting(recipe.split.shares, classes=recipe.classes)
        self._digesting = Digesting()
        self._dropped = self._rows = 0

    def write(self, told: Told) -> Manifest:
        recipe = self._recipe
        files = Files(recipe.format, self._folder, json_fields=recipe.json_fields)
        with self._pin.ask(selection(recipe, self._own), recipe.parameters) as found:
            selected = Selected(found, splits=recipe.split.shares, evaluations=recipe.evaluations)
            try:
                self._pump(selected, files, told)
            finally:
                paths = files.close()
        made = Manifest(
            name=recipe.name,
            recipe=recipe,
            recipe_digest=recipe.digest,
            log=self._pin.log,
            pinned_position=self._pin.position,
            rows=self._rows,
            digest=self._digesting.digest,
            digest_of=FORM,
            format=recipe.format,
            splits=self._counting.counts(),
            fields=tuple(_field(one, recipe) for one in self._schema),
            files=tuple(
                manifest.written(self._folder, path, split=split) for split, of in paths.items() for path in of
            ),
            evaluations=LeftOut(rows=selected.left_out, sessions=len(selected.left_out_sessions)),
            filter=Filtered(name=self._keep.name, rows=self._dropped),
            versions={name: version(name) for name in VERSIONS},
        )
        write_file(self._folder / manifest.NAME, made.json_bytes())
        write_file(self._folder / card.NAME, card.card(made).encode())
        return made

    def _pump(self, selected: Selected, files: Files, told: Told) -> None:
        """A group is written while the next is read, and its lines while the query goes on."""
        canonical = Canonical(self._schema, json_fields=self._recipe.json_fields)
        with ThreadPoolExecutor(self._threads) as pool, ThreadPoolExecutor(1) as writing:
            under_way: Future[None] | None = None
            for group in grouped(_with_lines(gathered(self._kept(selected)), canonical, pool, ahead=self._threads)):
                if under_way is not None:
                    under_way.result()
                under_way = writing.submit(files.write, group)
                self._digest(group)
                told(self._rows)
            if under_way is not None:
                under_way.result()

    def _kept(self, selected: Iterable[Rows]) -> Iterator[Rows]:
        for rows in selected:
            mask = self._keep.keep(rows)
            if dropped := rows.fields.num_rows - mask.true_count:
                self._dropped += dropped
                rows = rows.kept(mask)
            if rows.fields.num_rows:
                self._counting.add(rows)
                yield rows

    def _digest(self, group: Group) -> None:
        for lines in group.lines:
            self._digesting.add(lines)
        self._rows += group.fields.num_rows


def _with_lines(
    pieces: Iterable[Rows], canonical: Canonical, pool: ThreadPoolExecutor, *, ahead: int
) -> Iterator[Written]:
    """Rows with their lines, in order; at most `ahead` pieces more are held than were taken."""
    waiting: deque[tuple[Rows, Future[Lines]]] = deque()
    for rows in pieces:
        waiting.append((rows, pool.submit(canonical.lines, rows.fields)))
        if len(waiting) > ahead:
            first, lines = waiting.popleft()
            yield Written(first, lines.result())
    for first, lines in waiting:
        yield Written(first, lines.result())


def _field(field: pa.Field, recipe: Recipe) -> FieldFound:
    kind = "json" if field.name in recipe.json_fields else type_name(field.type)
    return FieldFound(name=field.name, type=kind, meaning=recipe.fields.get(field.name, MEANINGS.get(field.name, "")))

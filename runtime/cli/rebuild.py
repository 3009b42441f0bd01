"""`aether log rebuild`: a log out of the records that were exported from it.

Knows words and exit codes; what is taken, `telemetry.otel.rebuild` knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, progress_of, talk, writing

if TYPE_CHECKING:
    from telemetry.log.stretches import Stretches
    from telemetry.otel.rebuild import Rebuilt

MAX_SHOWN = 20
"""Lines of one kind; `--json` has all of them."""


@command
def rebuild(
    from_otlp: Annotated[
        list[Path],
        typer.Option(
            "--from-otlp",
            metavar="FILE|DIR",
            help="Records in OTLP: lines of JSON, or protobuf, in gzip or not; may be given again.",
        ),
    ],
    seal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A seal of the log they come from: all that it names must be here then."),
    ] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Rebuild a log from its records: every stream ends in the same hash, or what is missing is listed and the command
    ends in 4, as it does after what could not be read, unless a seal says that nothing is lacking. What stands there
    already stays as it is.

    Example: aether log rebuild --from-otlp records --log rebuilt.db
    """
    from runtime.cli.log import read_seal
    from runtime.errors import NotFound, VerificationFailed
    from runtime.telemetry.disclosed import make_anew
    from telemetry.log.imports import lacking
    from telemetry.otel.rebuild import rebuild as rebuilt_from
    from telemetry.otel.rebuild.reading import files_in

    for path in from_otlp:
        if not path.exists():
            raise NotFound(f"there is nothing at {path}; write records with: aether trace export --file {path}")
    sealed = None if seal is None else read_seal(seal)
    size = sum(file.stat().st_size for path in from_otlp for file in files_in(path))
    with writing(log) as store:
        with progress_of("rebuild", size_bytes=size, quiet=as_json) as seen:
            done = rebuilt_from(store, from_otlp, seen=seen)
        if done.imported.disclosed:
            talk(make_anew(store))
        lacks = [] if sealed is None else lacking(store, sealed)
        as_of, root = store.position(), store.seal().root
    if as_json:
        answer([_row(done)], as_of=as_of, more={**_lists(done), "root": root, "lacks": lacks})
    else:
        typer.echo(f"{done.imported}; the heads have the root {root[:12]}…")
        for line in _lines(done):
            typer.echo(line)
        if lacks:
            talk("the seal names what is not in this log: " + ", ".join(lacks))
    unsure = done.faulty and sealed is None  # what a seal names is here, whatever could not be read
    if lacks or unsure or not done.whole:
        raise typer.Exit(VerificationFailed.exit_code)


def _row(done: Rebuilt) -> dict[str, object]:
    imported: dict[str, object] = {name: getattr(done.imported, name) for name in done.imported.__slots__}
    counts = ("records", "repeats", "others", "archived", "unnamed", "faulty", "whole")
    return {**imported, **{name: getattr(done, name) for name in counts}}


def _lists(done: Rebuilt) -> dict[str, object]:
    stretches = {name: [one._asdict() for one in getattr(done, name)] for name in ("missing", "held", "withheld")}
    return {**stretches, "gaps": [gap._asdict() for gap in done.gaps], "faults": done.faults}


def _lines(done: Rebuilt) -> Iterator[str]:
    """What there is to say beside what was imported."""
    yield from _stretched("missing", done.missing, "no record of them was given")
    if done.unnamed:
        where = ", ".join(map(str, done.gaps[:MAX_SHOWN])) + (" …" if len(done.gaps) > MAX_SHOWN else "")
        yield f"missing   {done.unnamed:,} more events, of streams that nothing names, among the positions {where}"
    yield from _stretched("held", done.held, "they come after what is missing or contested")
    yield from _stretched("withheld", done.withheld, "in the log without their payloads, which did not travel")
    if done.archived:
        yield f"archived  {done.archived:,} events were left out, as they were archived and removed since"
    yield from _first("fault", done.faults, done.faulty)
    passed = [f"{done.repeats:,} repeats"] if done.repeats else []
    passed += [f"{done.others:,} log records of others"] if done.others else []
    if passed:
        yield f"passed    {' and '.join(passed)}"


def _stretched(word: str, stretches: Stretches, why: str) -> Iterator[str]:
    if stretches.events:
        yield f"{word:<9} {stretches.events:,} events: {why}"
        listed = [str(stretch) for stretch in stretches]
        yield from _first("", listed, len(listed))


def _first(word: str, lines: Iterable[str], count: int) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == MAX_SHOWN:
            yield f"{word:<9} … and {count - number:,} more; --json has them"
            return
        yield f"{word:<9} {line}"

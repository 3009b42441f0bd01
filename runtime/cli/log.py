"""`aether log …`: is the record whole, what comes onto it, and taking it elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from runtime.cli.follow import follow
from runtime.cli.output import (
    Json,
    LogUrl,
    answer,
    command,
    document,
    examining,
    progress_of,
    reading,
    talk,
    writing,
)
from runtime.cli.rebuild import rebuild
from runtime.cli.retention import archive, prune

if TYPE_CHECKING:
    from telemetry.events import Recorded
    from telemetry.log import EventLog, Seal, VerifyReport
    from telemetry.log.imports import Imported

app = typer.Typer(
    help="Verify, seal, follow, export, import, rebuild, archive and prune the log; print its events' schema.\n\n"
    "Example: aether log verify",
    no_args_is_help=True,
)


@app.command()
@command
def verify(
    seal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A seal, which also finds cut tails and deleted streams."),
    ] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Check every event against its digest and chain, and name the first bad one of each stream.

    Example: aether log verify --seal maze.seal.json
    """
    from runtime.errors import VerificationFailed

    sealed = None if seal is None else read_seal(seal)
    with examining(log) as store:
        report = store.verify(seal=sealed)
    if as_json:
        more: dict[str, object] = {
            name: getattr(report, name) for name in ("ok", "events", "streams", "removed", "intact")
        }
        more["withheld"] = [stretch._asdict() for stretch in report.withheld]
        answer(_problems(report), as_of=report.as_of, more=more)
    else:
        typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(VerificationFailed.exit_code)


@app.command()
@command
def seal(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.  [default: stdout]")] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Write down where every stream ends, under one Merkle root. Keep it outside the log.

    Example: aether log seal --out maze.seal.json
    """
    with reading(log) as store:
        made = store.seal()
    if out is None:
        sys.stdout.buffer.write(made.to_json() + b"\n")
        return
    out.write_bytes(made.to_json() + b"\n")
    row = {"file": str(out), "root": made.root, "streams": len(made.heads)}
    if as_json:
        answer([row], as_of=made.as_of)
    else:
        typer.echo(f"sealed {len(made.heads)} streams at position {made.as_of}: {made.root}")


app.command()(follow)
app.command()(archive)
app.command()(prune)
app.command()(rebuild)


@app.command()
@command
def export(
    session: Annotated[str | None, typer.Argument(help="Only this session.  [default: the whole log]")] = None,
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="Up to this version of the session.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write.  [default: stdout]")] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Write events as lines of JSON that hold every stored column, bit for bit.

    Of a damaged log the intact events of each stream are written, the others named, and the original is not touched;
    the command ends in 4 then.

    Example: aether log export 7f3a9c01d2e4 --to 4811 --out good.jsonl
    """
    from runtime.errors import UsageError, VerificationFailed
    from runtime.sessions import check_there, stream_of
    from telemetry.log.export import export_lines, export_whole

    if to is not None and session is None:
        raise UsageError("--to is a version of one session: name the session too. Nothing was written")
    written = 0

    def write(event: Recorded) -> None:
        nonlocal written
        if to is None or event.version <= to:
            target.writelines(export_lines([event]))
            written += 1

    with examining(log) as store, _target(out, store) as target:
        if session is None:
            report = export_whole(store, write)
        else:
            report = store.verify(streams=(stream_of(session),), each=write)
            if not report.events:
                check_there(store, stream_of(session))
    if as_json and out is not None:
        row = {"file": str(out), "events": written, "left_out": report.events - written if to is None else None}
        answer(
            [row], as_of=report.as_of, more={"ok": report.ok, "problems": _problems(report), "intact": report.intact}
        )
    else:
        talk(f"{written} events written")
    if not report.ok:
        if not as_json:
            talk(f"{report}\nThe log was left as it is. What was written is whole: aether log import {out or 'FILE'}")
        raise typer.Exit(VerificationFailed.exit_code)


@contextmanager
def _target(out: Path | None, log: EventLog) -> Iterator[BinaryIO]:
    """Where an export goes, which must not be the log itself."""
    from runtime.errors import UsageError

    if out is None:
        yield sys.stdout.buffer
        return
    if out.exists() and out.resolve() == Path(log.url).resolve():
        raise UsageError(f"{out} is the log itself; nothing was written. Name another file")
    with out.open("wb") as file:
        yield file


def _problems(report: VerifyReport) -> list[dict[str, object]]:
    return [{name: getattr(problem, name) for name in problem.__slots__} for problem in report.problems]


@app.command("import")
@command
def import_(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="What `aether log export` or `archive` wrote; - is stdin."),
    ],
    seal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A seal of the log they come from: all that it names must be here then."),
    ] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Take exported events into a log, new or not, under the same hashes. What stands there already stays as it is.

    Example: aether log import maze.jsonl --log copy.db
    """
    from runtime.errors import VerificationFailed
    from runtime.telemetry.disclosed import make_anew
    from telemetry.log.imports import Imported, lacking

    sealed = None if seal is None else read_seal(seal)
    done = Imported()
    with writing(log) as store:
        for name in files:
            done += _take(store, name, quiet=as_json)
        if done.disclosed:
            talk(make_anew(store))
        missing = [] if sealed is None else lacking(store, sealed)
        as_of = store.position()
    if as_json:
        row: dict[str, object] = {name: getattr(done, name) for name in done.__slots__}
        answer([row], as_of=as_of, more={"missing": missing})
    else:
        typer.echo(str(done))
    if missing and not as_json:
        talk("the seal names what is not in this log: " + ", ".join(missing))
    if missing:
        raise typer.Exit(VerificationFailed.exit_code)


def _take(log: EventLog, name: str, *, quiet: bool) -> Imported:
    """Imports one file, or stdin for `-`."""
    from runtime.errors import NotFound
    from telemetry.log.imports import import_archive, import_lines, lines_of

    path = Path(name)
    if name != "-" and not path.is_file():
        raise NotFound(f"there is no file at {name}; write one with: aether log export --out {name}")
    if path.suffix == ".parquet":
        with progress_of(f"import {name}", size_bytes=None, quiet=quiet) as seen:
            return import_archive(log, path, seen=seen)
    size = None if name == "-" else path.stat().st_size
    with (
        nullcontext(sys.stdin.buffer) if name == "-" else path.open("rb") as file,
        progress_of(f"import {name}", size_bytes=size, quiet=quiet) as seen,
    ):
        return import_lines(log, lines_of(file), seen=seen, name="stdin" if name == "-" else name)


def read_seal(path: Path) -> Seal:
    """Raises `NotFound` where there is none, `InvalidSeal`."""
    from runtime.errors import NotFound
    from telemetry.log import Seal

    if not path.is_file():
        raise NotFound(f"there is no seal at {path}; make one with: aether log seal --out {path}")
    return Seal.from_json(path.read_bytes())


@app.command()
@command
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of every event.

    Example: aether log schema > events.schema.json
    """
    from telemetry.events import json_schema

    document(json_schema())

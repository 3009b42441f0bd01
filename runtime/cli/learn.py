"""`aether learn`: sessions, training and judgement by turns, drawn round by round."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from runtime.cli.output import Json, LogUrl, answer, command, table, talk
from runtime.cli.run import PLAIN_EVERY_S, Address

if TYPE_CHECKING:
    from rich.progress import Progress

    from runtime.learning.course import Course
    from runtime.learning.curve import Arm, Point
    from runtime.learning.history import Round
    from runtime.learning.rounds import Stage, Told
    from runtime.settings import Settings

UNITS = {"gathering": "moves", "training": "steps", "judging": "pairs"}
WIDTH = 100
"""Columns of the curve where there is no terminal."""
COLUMNS = ("round", "model", "moves", "verdict", "success", "to goal", "surprise", "error")


@command
def learn(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="Whose sessions are learnt from.")],
    rounds: Annotated[
        int, typer.Option(min=0, help="Rounds to go; one that was cut off is the first. 0 draws what there is.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where the curve is drawn.  [default: NAME-learning.png]")
    ] = None,
    log: LogUrl = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Let sessions run, learn from what they recorded, and act by the model where it does better; then again.

    A round gathers the moves that [learning] asks for, trains on all that the scenario's sessions did, and judges the
    model by pairs of sessions on fresh seeds. It is promoted or rejected; every step is an event. After each round the
    curve is drawn. After Ctrl-C or a kill the same command goes on where the round stood.

    Example: aether learn examples/maze.toml --rounds 3
    """
    from runtime.learning.course import course_of
    from runtime.run import check_scenario
    from runtime.scenario import read_scenario
    from runtime.settings import read_settings

    settings = read_settings({"log": log, "address": address}).settings
    course = course_of(read_scenario(scenario), str(scenario))
    check_scenario(course.file, settings)
    path = _picture(out, course.name, settings)
    if rounds:
        _learn(settings, course, rounds, path, quiet=as_json)
    _finish(_read(settings, course), course, path, as_json=as_json)


def _picture(out: Path | None, name: str, settings: Settings) -> Path:
    """In the current folder where none is named, or in `home` where that is a job's upload, which Ray deletes.

    Raises `UsageError` where no picture can be put, before anything is started."""
    from runtime.errors import UsageError
    from runtime.settings import in_upload

    if out is None:
        folder = settings.home.expanduser() if in_upload(Path.cwd()) else Path()
        return folder / f"{name}-learning.png"
    if out.suffix != ".png":
        raise UsageError(f"--out names a picture, FILE.png; {str(out)!r} is none. Nothing was started")
    folder = out.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for the picture {out.name}. Nothing was started")
    return out


def _learn(settings: Settings, course: Course, rounds: int, path: Path, *, quiet: bool) -> None:
    """Exits 130 when it is interrupted, with how to go on."""
    from runtime.errors import INTERRUPTED
    from runtime.learning.rounds import fleet_of
    from runtime.learning.rounds import learn as learnt
    from telemetry.otel.metrics import beside, exporting

    try:
        with ExitStack() as stack:
            shown = stack.enter_context(_watching(course.name, quiet=quiet))
            stack.enter_context(
                exporting(
                    settings.metrics,
                    said=shown.say,
                    endpoint=beside(settings.prometheus),
                    protocol=settings.metrics_protocol,
                )
            )
            fleet = stack.enter_context(fleet_of(settings, course))
            for done, one in enumerate(learnt(fleet, course, rounds=rounds, told=shown.told, said=shown.say), start=1):
                shown.say(f"round {one.number}: {one.model} was {one.verdict}" + (f": {one.why}" if one.why else ""))
                so_far = _read(settings, course)
                if so_far.points and done < rounds:
                    shown.say(_drawn(so_far, course, path))
    except KeyboardInterrupt:
        talk(
            "Interrupted: the sessions rest at a closed cycle, and what was trained and judged stands. "
            f"Go on with: aether learn {course.source}"
        )
        raise typer.Exit(INTERRUPTED) from None


class _Read(NamedTuple):
    rounds: tuple[Round, ...]
    points: tuple[Point, ...]
    as_of: int
    log: str


def _read(settings: Settings, course: Course) -> _Read:
    from runtime.learning.curve import curve
    from runtime.learning.history import history
    from runtime.settings import log_url
    from telemetry.log import open_log

    with closing(open_log(log_url(settings), mode="read")) as log:
        told = history(log, course.name)
        return _Read(told.rounds, curve(log, told), told.position, log.name)


def _drawn(read: _Read, course: Course, path: Path) -> str:
    """Writes the picture; the curve in characters. Raises `Unavailable` where the picture finds no room."""
    from runtime.errors import Unavailable
    from runtime.learning.draw import draw, sketch

    try:
        draw(read.points, path, name=course.name)
    except OSError as error:
        raise Unavailable(
            f"the curve cannot be written to {path}: {error.strerror or error}. The rounds are on the log; make room, "
            f"and draw it again: aether learn {course.source} --rounds 0"
        ) from error
    width = shutil.get_terminal_size((WIDTH, 0)).columns if sys.stdout.isatty() else WIDTH
    return sketch(read.points, width=width)


def _finish(read: _Read, course: Course, path: Path, *, as_json: bool) -> None:
    drawn = _drawn(read, course, path) if read.points else None
    if as_json:
        rows = [point.model_dump(mode="json") for point in read.points]
        picture = None if drawn is None else str(path)
        answer(rows, as_of=read.as_of, more={"model": course.name, "rounds": len(read.rounds), "picture": picture})
        return
    if not read.rounds:
        typer.echo(f"{read.log} tells of no round of {course.name}. Try: aether learn {course.source}")
        return
    table(list(_rows(read)), COLUMNS)
    latest = read.rounds[-1]
    if drawn is not None:
        typer.echo(f"\n{drawn}\n\ncurve  {path}")
    typer.echo(f"log    {read.log}\n\nNext: aether why {latest.decided}\n      aether learn {course.source}")


def _rows(read: _Read) -> Iterator[Mapping[str, object]]:
    """What stood before the first round, then each candidate with its own figures."""
    points = {point.round: point for point in read.points}
    if read.points and read.points[0].verdict is None:
        first = read.points[0]
        yield {"round": first.round, "verdict": "before", **_cells(first.stands)}
    for one in read.rounds:
        point = points.get(one.number)
        arm = None if point is None or point.verdict is None else point.candidate
        verdict = "rolled back" if one.taken_back else "canary" if one.share < 1 else one.verdict
        figures = {"model": one.model} if arm is None else _cells(arm)
        yield {"round": one.number, "moves": f"{one.transitions:,}", "verdict": verdict, **figures}


def _cells(arm: Arm) -> Mapping[str, object]:
    return {
        "model": arm.model,
        "success": f"{arm.success.value:.0%}",
        "to goal": f"{arm.steps.value:.1f}",
        "surprise": None if arm.nats is None else f"{arm.nats.value:+.2f}",
        "error": None if arm.error_over_copy is None else f"{arm.error_over_copy.value:.2f}",
    }


class _Shown(NamedTuple):
    told: Told
    say: Callable[[str], None]


@contextmanager
def _watching(name: str, *, quiet: bool) -> Iterator[_Shown]:
    """A bar on a terminal, a plain line every PLAIN_EVERY_S seconds elsewhere. Meanwhile what others print to stdout
    goes to stderr: Ray reports there what dies, and stdout is for data."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with redirect_stdout(sys.stderr):
        if quiet:
            yield _Shown(lambda _: None, lambda _: None)
            return
        if not console.is_terminal:
            yield _Shown(_Plain(name), talk)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
            bar = _Bar(name, progress)
            yield _Shown(bar, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))


class _Bar:
    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress
        self._task = progress.add_task(f"{name}: starting Ray", total=None, said="")
        self._at: tuple[int, str] | None = None

    def __call__(self, stage: Stage) -> None:
        if self._at != (stage.round, stage.doing):
            self._at = stage.round, stage.doing
            about = f"{self._name}, round {stage.round}: {stage.doing}"
            self._progress.reset(self._task, description=about, said="")
        self._progress.update(self._task, total=stage.of or None, completed=min(stage.done, stage.of or stage.done))
        self._progress.update(self._task, said=_words(stage))


class _Plain:
    def __init__(self, name: str) -> None:
        self._name = name
        self._at: tuple[int, str] | None = None
        self._latest = time.monotonic()

    def __call__(self, stage: Stage) -> None:
        at, now = (stage.round, stage.doing), time.monotonic()
        if at == self._at and now - self._latest < PLAIN_EVERY_S:
            return
        self._at, self._latest = at, now
        talk(f"{self._name}, round {stage.round}, {stage.doing}: {_words(stage)}")


def _words(stage: Stage) -> str:
    of = f"/{stage.of:,.0f}" if stage.of else ""
    return f"{stage.done:,.0f}{of} {UNITS[stage.doing]}" + (f" · {stage.said}" if stage.said else "")

"""A dataset follows from a log and a position, whatever keeps the log and wherever its rows lie."""

from __future__ import annotations

from pathlib import Path

from telemetry.datasets.build import build
from telemetry.datasets.pinned import pinned
from telemetry.datasets.recipe import Recipe, parse, shipped
from telemetry.log import EventLog
from telemetry.query.engine import Limits
from telemetry.query.traces.compact import compact
from telemetry.query.traces.place import place_of
from telemetry.query.traces.writer import Traces
from tests.in_turns import closings, fill_in_turns, fill_with_shapes, forked


def built(log: EventLog, recipe: Recipe, out: Path, *, at: int | None, traces: Path | None, threads: int) -> str:
    """The digest."""
    limits = Limits(threads=threads)
    with pinned(log, at=at, traces=None if traces is None else str(traces), limits=limits) as pin:
        return build(recipe, pin, out=out, threads=threads).manifest.digest


def test_the_same_pin_gives_the_same_digest_from_the_log_from_parquet_and_from_both(
    log: EventLog, tmp_path: Path
) -> None:
    recipes = [parse(path.read_text(encoding="utf-8")) for path in shipped().values()]
    traces = tmp_path / "traces"
    fill_in_turns(log, ("maze", "refund"))
    with Traces(log, traces) as writer:
        writer.drain(to=log.position())
    fill_in_turns(log, ("lava",))
    forked(log, "maze", "maze-again", at_version=list(closings("maze"))[1])
    pin = log.position()

    def digests(name: str, *, at: int | None, traces: Path | None, threads: int) -> dict[str, str]:
        return {
            recipe.name: built(log, recipe, tmp_path / name / recipe.name, at=at, traces=traces, threads=threads)
            for recipe in recipes
        }

    first = digests("log", at=None, traces=None, threads=1)
    assert digests("both", at=None, traces=traces, threads=2) == first
    forked(log, "lava", "lava-again", at_version=next(closings("lava")))
    fill_with_shapes(log)
    with Traces(log, traces) as writer:
        writer.drain(to=log.position())
    compact(place_of(traces))
    assert digests("parquet", at=pin, traces=traces, threads=3) == first

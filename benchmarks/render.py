"""docs/benchmarks.md out of build/bench.jsonl. Knows the table's form; measures nothing.

Invariant: the same lines on the same page give the same bytes, and each figure's row is its latest line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from benchmarks.report import LINES, ROOT, Figure, Header, Run

PAGE = ROOT / "docs" / "benchmarks.md"

INTRODUCTION = """\
# Benchmarks

Rendered by `make bench-docs` from the lines that `make bench` leaves in `build/bench.jsonl`; not edited by
hand. A floor is what a figure must reach, an aim what we would like. Where a peer exists, the figure was
measured beside it in the same run, interleaved. One machine's figures say little about another's; the ratios
travel better. A figure that was not measured again keeps its row, under its own run.
"""

FIGURE_CELLS, RUN_CELLS = 8, 6
"""Columns of the two tables."""

_LINE: TypeAdapter[Header | Figure] = TypeAdapter(Header | Figure)


def latest(lines: Iterable[str]) -> list[tuple[Figure, Run]]:
    """The last line of each figure with the run that measured it, in the order the figures first appeared.

    Raises ValueError for a line that is neither a figure nor a run, and for a figure above the first run."""
    run: Run | None = None
    found: dict[str, tuple[Figure, Run]] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = _LINE.validate_json(text)
        except ValueError as error:
            raise ValueError(f"line {number} is neither a figure nor a run: {error}") from error
        if isinstance(line, Header):
            run = line.run
        elif run is None:
            raise ValueError(f"line {number}: the figure {line.figure} stands above any run")
        else:
            found[line.figure] = line, run
    return list(found.values())


class Row(NamedTuple):
    """What the page shows of a figure, beside the number of its run."""

    cells: tuple[str, ...]
    run: tuple[str, ...]
    """The cells of its run, beside its number."""


def page(figures: list[tuple[Figure, Run]], *, before: str = "") -> str:
    """The whole page: one table of figures, one of the runs they come from. A figure that was not measured keeps its
    row of the page as it was `before`."""
    rows = {row.cells[0]: row for row in (*_rows(before), *(Row(_cells(of), _run_cells(run)) for of, run in figures))}
    runs = sorted(dict.fromkeys(row.run for row in rows.values()))
    number = {run: str(place) for place, run in enumerate(runs, start=1)}
    lines = [
        "| figure | value | unit | floor | result | aim | n | run |",
        "|---|---:|---|---:|---|---:|---:|---:|",
        *(_line((*row.cells, number[row.run])) for row in rows.values()),
        "",
        "| run | date | commit | machine | Python | profile |",
        "|---:|---|---|---|---|---|",
        *(_line((place, *run)) for run, place in number.items()),
    ]
    return INTRODUCTION + "\n" + "\n".join(lines) + "\n"


def _rows(page: str) -> list[Row]:
    """The rows of a page that was made here."""
    lines = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in page.splitlines()]
    runs = {number: run for number, *run in (line for line in lines if len(line) == RUN_CELLS and line[0].isdigit())}
    rows = (line for line in lines if len(line) == FIGURE_CELLS and line[0].startswith("`"))
    return [Row(row[:-1], tuple(runs[row[-1]])) for row in rows]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(figure: Figure) -> tuple[str, ...]:
    verdict = {True: "met", False: "**missed**", None: "–"}[figure.met(figure.floor)]
    return (
        f"`{figure.figure}`",
        number_text(figure.value),
        figure.unit,
        _bound(figure, figure.floor),
        verdict,
        _bound(figure, figure.aim),
        str(figure.n),
    )


def _run_cells(run: Run) -> tuple[str, ...]:
    return f"{run.date:%Y-%m-%d %H:%M} UTC", run.commit, run.machine, run.python, run.profile


def _bound(figure: Figure, bound: float | None) -> str:
    if bound is None:
        return "–"
    return {"<=": "≤", ">=": "≥"}[figure.op] + " " + number_text(bound)


def number_text(value: float) -> str:
    """Three significant digits; whole numbers from 1,000 on, so that no large one has an exponent."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def main(lines: Path = LINES, target: Path = PAGE) -> int:
    if not lines.exists():
        print(f"{lines.name} is not there yet; the page is unchanged. Run `make bench` first.", file=sys.stderr)
        return 1
    try:
        figures = latest(lines.read_text(encoding="utf-8").splitlines())
    except ValueError as error:
        print(
            f"{lines.name}: {error}\nThe page is unchanged. Remove that line and render again.",
            file=sys.stderr,
        )
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    before = target.read_text(encoding="utf-8") if target.exists() else ""
    target.write_text(page(figures, before=before), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The ablation as a table in Markdown, out of the raw results. Knows rows; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.world_model.kept import FOLDER, Row, read
from benchmarks.world_model.mazes import MAZES
from benchmarks.world_model.statistics import rate
from benchmarks.world_model.success import CELLS, RANDOM, succeeded

SHOWN = {
    "jepa_graph": "JEPA, graph (the default)",
    "jepa_graph_beta_0": "JEPA, graph, β = 0",
    "jepa_euclidean": "JEPA, Euclidean",
    "linear_graph": "linear, graph",
    "linear_graph_beta_0": "linear, graph, β = 0",
    "linear_euclidean": "linear, Euclidean",
    "simulator_graph": "true simulator, graph",
    "simulator_euclidean": "true simulator, Euclidean",
    RANDOM: "random",
}


def latest(rows: Iterable[Row], *, use: str = "success") -> dict[tuple[str, str], list[Row]]:
    """By maze and cell the rows of each seed's last whole set."""
    sets: dict[tuple[str, str, int], dict[str, list[Row]]] = {}
    for row in rows:
        if row.get("use", use) == use:
            place = (str(row["maze"]), str(row["cell"]), int(str(row["seed"])))
            sets.setdefault(place, {}).setdefault(str(row["set"]), []).append(row)
    found: dict[tuple[str, str], list[Row]] = {}
    for (maze, cell, _), by_set in sets.items():
        whole = [of for of in by_set.values() if len(of) >= int(str(of[0]["of"]))]
        if whole:
            found.setdefault((maze, cell), []).extend(whole[-1])
    return found


def table(path: Path = FOLDER / "success.jsonl") -> str:
    """Success with its 95 % interval, and over how many episodes; a cell that was not measured is left blank."""
    found = latest(read(path))
    mazes = [maze for maze in MAZES if any(of == maze for of, _ in found)]
    lines = [
        "| " + " | ".join(("", *mazes)) + " |",
        "|" + "---|" * (len(mazes) + 1),
        *(_line(cell, [found.get((maze, cell), []) for maze in mazes]) for cell in SHOWN),
    ]
    return "\n".join(lines)


def _line(cell: str, results: Sequence[Sequence[Row]]) -> str:
    shown = [f"{rate(succeeded(rows))} (n = {len(rows)})" if rows else "" for rows in results]
    return "| " + " | ".join((SHOWN[cell], *shown)) + " |"


assert {cell.name for cell in CELLS} | {RANDOM} == set(SHOWN), "every cell has its words"

"""Raw results on disk, so that a run that was cut off goes on where it stood.

Knows sets of rows under a key; knows nothing of what was measured. Invariant: a set is used again only when all of its
rows are there and its key is the same: the model's digest, the settings, the reset seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from benchmarks.report import ROOT

FOLDER = ROOT / "build" / "world-model"

Row = dict[str, JsonValue]


def once(
    name: str, key: Mapping[str, JsonValue], measure: Callable[[], Sequence[Row]], *, folder: Path = FOLDER
) -> list[Row]:
    """The rows of `key` from `name`.jsonl; measured and appended there where they are not whole yet."""
    path = folder / f"{name}.jsonl"
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    found = [row for row in read(path) if row.get("set") == digest]
    if found and len(found) >= int(str(found[-1]["of"])):
        return found[-int(str(found[-1]["of"])) :]
    made = measure()
    rows: list[Row] = [{"set": digest, "of": len(made), **key, **row} for row in made]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def read(path: Path) -> list[Row]:
    """All whole lines; the last of a run that was cut off may be half a line, and is left out."""
    if not path.exists():
        return []
    rows: list[Row] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows

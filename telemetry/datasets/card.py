"""What a dataset's folder says of itself, for people: `README.md`, whose head tells `datasets.load_dataset` which file
is of which split.

Knows manifests and Markdown; counts nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from telemetry.datasets.counting import MISSING
from telemetry.datasets.manifest import Manifest

NAME = "README.md"

SHOWN_CLASSES = 20
"""Values of a field that the card lists; the manifest has all."""


def card(manifest: Manifest) -> str:
    return "\n".join(_lines(manifest)) + "\n"


def _lines(manifest: Manifest) -> Iterator[str]:
    yield from _head(manifest)
    yield f"# {manifest.name}"
    yield ""
    if manifest.recipe.about:
        yield manifest.recipe.about.strip()
        yield ""
    yield from _table(("", ""), _facts(manifest))
    yield from _splits(manifest)
    yield from _fields(manifest)
    yield from _classes(manifest)
    yield "## Recipe"
    yield ""
    if manifest.recipe.parameters:
        yield f"Parameters: `{orjson.dumps(manifest.recipe.parameters).decode()}`"
        yield ""
    yield "```sql"
    yield manifest.recipe.query.strip()
    yield "```"


def _head(manifest: Manifest) -> Iterator[str]:
    """YAML; a path with what YAML could take for something else is quoted as JSON, which is YAML too."""
    splits = [name for name in manifest.splits if any(one.split == name for one in manifest.files)]
    if not splits:
        return
    yield "---"
    yield "configs:"
    yield "- config_name: default"
    yield "  data_files:"
    for split in splits:
        yield f"  - split: {split}"
        yield "    path:"
        yield from (f"    - {one.path}" for one in manifest.files if one.split == split)
    yield "---"


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "rows", f"{manifest.rows:,}"
    yield "digest", f"`{manifest.digest}` (SHA-256 over {manifest.digest_of})"
    yield "pinned to", f"position {manifest.pinned_position:,} of log `{manifest.log}`"
    yield "recipe", f"`{manifest.name}@{manifest.recipe_digest[:12]}`"
    yield "people", f"{sum(one.subjects for one in manifest.splits.values()):,} in all splits together"
    yield "evaluations", f"{_left_out(manifest)}"
    yield "filter", f"{manifest.filter.name}: {manifest.filter.rows:,} rows taken away"
    yield "written by", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())


def _left_out(manifest: Manifest) -> str:
    if manifest.recipe.evaluations:
        return "taken too, as the recipe says"
    found = manifest.evaluations
    return f"{found.rows:,} rows of {found.sessions:,} sessions left out: an evaluation is nothing to learn from"


def _splits(manifest: Manifest) -> Iterator[str]:
    split = manifest.recipe.split
    yield "## Splits"
    yield ""
    kept = "a session with its forks" if split.by == "session" else "all sessions of a person"
    yield f"By {split.by}, seed {split.seed}: {kept} in one split, whatever is added to the log later."
    yield ""
    rows = (
        (name, f"{split.shares[name]:.0%}", f"{one.rows:,}", f"{one.sessions:,}", f"{one.subjects:,}")
        for name, one in manifest.splits.items()
    )
    yield from _table(("split", "share of hashes", "rows", "sessions", "people"), rows)


def _fields(manifest: Manifest) -> Iterator[str]:
    yield "## Fields"
    yield ""
    missing = {
        one.name: sum(counts.missing.get(one.name, 0) for counts in manifest.splits.values()) for one in manifest.fields
    }
    rows = ((f"`{one.name}`", one.type, f"{missing[one.name]:,}", one.meaning) for one in manifest.fields)
    yield from _table(("field", "type", "missing", "meaning"), rows)


def _classes(manifest: Manifest) -> Iterator[str]:
    for field in manifest.recipe.classes:
        yield f"## Balance of `{field}`"
        yield ""
        total: dict[str, int] = {}
        for counts in manifest.splits.values():
            for value, count in counts.classes.get(field, {}).items():
                total[value] = total.get(value, 0) + count
        values = sorted(total, key=lambda value: (-total[value], value))
        rows = [
            (
                _cell(value),
                *(f"{counts.classes.get(field, {}).get(value, 0):,}" for counts in manifest.splits.values()),
                f"{total[value] / max(1, manifest.rows):.1%}",
            )
            for value in values[:SHOWN_CLASSES]
        ]
        yield from _table((field, *manifest.splits, "of all"), rows)
        if len(values) > SHOWN_CLASSES:
            yield f"{len(values) - SHOWN_CLASSES:,} more values are in manifest.json."
            yield ""


def _cell(value: str) -> str:
    return value if value == MISSING else f"`{value}`"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_in_cell(cell) for cell in row)} |"
    yield ""


def _in_cell(text: str) -> str:
    """What would end a cell or a line, said otherwise."""
    return " ".join(text.replace("|", "\\|").split())

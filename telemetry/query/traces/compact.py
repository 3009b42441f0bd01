"""Small files joined into larger ones.

Knows manifests and files; follows no log. Invariant: the rows are the same before and after, and at every moment
between, for whoever reads a manifest: what is replaced stays for those who have begun to read it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from telemetry.errors import TracesHeld, TracesRefused
from telemetry.query.traces.files import decoded, encoded, joined, written_at
from telemetry.query.traces.manifest import FOLDER, Dropped, File, Manifest, commit, read
from telemetry.query.traces.place import Place, Taken

LARGE_BYTES: Final = 256 * 1024 * 1024
"""What the rows of one file take in memory at most, where there are several to be joined: a fiftieth on disk, or a
third, as they are alike. A file of half of it is joined with no other."""

JOIN_AT: Final = 16
"""So many files of about one size are joined without being asked for."""

TOGETHER: Final = 64
"""Groups of files that are joined in one commit: what a kill in the middle makes to be done again."""

GRACE_S: Final = 3600.0
"""How long a file that was replaced stays for those who read it; and one that no manifest names, for its writer."""


@dataclass(frozen=True, slots=True)
class Compacted:
    before: int
    after: int
    """Files."""
    removed: int
    """Files that were taken off the disk: replaced before, or left by writers that were killed."""


def compact(place: Place) -> Compacted:
    """Joins whatever is small, and removes what nobody can be reading any more.

    Raises `TracesHeld` while somebody writes there, `TracesRefused` where there are no traces, `TracesUnwritable`."""
    if read(place) is None:
        raise TracesRefused(f"there are no traces in {place.name}. Try: aether trace export --parquet FOLDER")
    with place.held():
        manifest = read(place)
        assert manifest is not None, "manifests follow one another"
        before = len(manifest.files)
        groups = list(all_small(manifest))
        for start in range(0, len(groups), TOGETHER):
            manifest = replace(place, manifest, groups[start : start + TOGETHER])
        manifest, removed = expire(place, manifest)
        known = {file.path for file in manifest.files} | {path for path, _ in manifest.dropped}
        orphans = list(_orphans(place, known))
        place.remove(orphans)
    return Compacted(before, len(manifest.files), removed + len(orphans))


def all_small(manifest: Manifest) -> Iterator[list[File]]:
    """Files that are to be one: of one partition, together not above LARGE_BYTES."""
    for files in manifest.partitions().values():
        group: list[File] = []
        size = 0
        for file in (one for one in files if one.table_bytes < LARGE_BYTES // 2):
            if size + file.table_bytes > LARGE_BYTES:
                if len(group) > 1:
                    yield group
                group, size = [], 0
            group.append(file)
            size += file.table_bytes
        if len(group) > 1:
            yield group


def many_alike(manifest: Manifest) -> Iterator[list[File]]:
    """JOIN_AT files of one partition and about one size, so that a row is written again a few times in its life,
    however many come."""
    for files in manifest.partitions().values():
        alike: dict[int, list[File]] = {}
        for file in files:
            if file.table_bytes < LARGE_BYTES // JOIN_AT:
                alike.setdefault(max(0, file.table_bytes.bit_length() - 20) // 4, []).append(file)
        yield from (group[:JOIN_AT] for group in alike.values() if len(group) >= JOIN_AT)


def replace(place: Place, manifest: Manifest, groups: Sequence[Sequence[File]]) -> Manifest:
    """The manifest in which one file stands for each of the groups, committed; where there are none, as it is."""
    if not groups:
        return manifest
    written = []
    for group in groups:
        table = joined([decoded(file.kind, place.read(file.path)) for file in group])
        file, content = encoded(group[0].partition, table)
        place.write([(file.path, content)])
        written.append(file)
    gone = {one.path for group in groups for one in group}
    now = time.time_ns()
    return committed(
        place,
        manifest,
        files=(*(one for one in manifest.files if one.path not in gone), *written),
        dropped=(*manifest.dropped, *(Dropped(path, now) for path in sorted(gone))),
    )


def expire(place: Place, manifest: Manifest) -> tuple[Manifest, int]:
    """Removes the files that were replaced GRACE_S ago; and how many."""
    limit = time.time_ns() - int(GRACE_S * 1e9)
    expired = [one.path for one in manifest.dropped if one.at <= limit]
    if not expired:
        return manifest, 0
    kept = tuple(one for one in manifest.dropped if one.at > limit)
    manifest = committed(place, manifest, dropped=kept)
    place.remove(expired)
    return manifest, len(expired)


def committed(
    place: Place,
    manifest: Manifest,
    *,
    files: Iterable[File] | None = None,
    dropped: Iterable[Dropped] | None = None,
    position: int | None = None,
    hash_: str | None = None,
) -> Manifest:
    """The next manifest, with these changes. Raises `TracesHeld` when another writer was faster."""
    after = manifest.model_copy(
        update={
            "number": manifest.number + 1,
            "files": manifest.files if files is None else tuple(files),
            "dropped": manifest.dropped if dropped is None else tuple(dropped),
            "position": manifest.position if position is None else position,
            "hash": manifest.hash if hash_ is None else hash_,
        }
    )
    try:
        commit(place, after)
    except Taken as error:
        raise TracesHeld(
            f"another process writes the traces in {place.name} and was faster. What it wrote stands, and nothing of "
            "this one's was added; let one of them write"
        ) from error
    return after


def _orphans(place: Place, known: set[str]) -> Iterator[str]:
    limit = time.time_ns() - int(GRACE_S * 1e9)
    for path in place.everything():
        at = None if path.startswith(f"{FOLDER}/") or path in known else written_at(path)
        if at is not None and at <= limit:
            yield path

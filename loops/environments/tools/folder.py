"""Files below an open folder, without ever leaving it; run as a program, it searches in a process of its own.

Knows files; knows nothing of tools, so that the process starts in a few milliseconds (standard library only).
Invariant: folders and files are opened relative to an open folder and never through a symbolic link."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator

MAX_FILE_BYTES = 1 << 20
"""Largest file that is read or written: about 250,000 tokens, more than a model is shown at once."""

MAX_VISITED = 50_000
"""Files a walk looks at."""

MAX_HITS = 200
"""Lines a search returns."""

MAX_LINE = 10_000
"""Characters of a line that are searched."""

SHOWN = 300
"""Characters of a line that are returned."""


def files(folder: int) -> Iterator[tuple[str, int, str]]:
    """Every regular file below an open folder in the order of their names: its path from there, and its folder (open
    until the next file is asked for) with its name in it."""
    for below, folders, names, opened in os.fwalk(".", dir_fd=folder):
        folders.sort()
        for name in sorted(names):
            with contextlib.suppress(FileNotFoundError):  # gone since the folder was read
                if not stat.S_ISREG(os.lstat(name, dir_fd=opened).st_mode):
                    continue
                shown = os.fsencode(f"{below}/{name}").decode(errors="replace")
                yield shown.removeprefix("./"), opened, name


def read(folder: int, name: str) -> bytes:
    """A regular file's bytes. Raises OSError for a link, a folder or a special file, ValueError for a large one."""
    # Without O_NONBLOCK, opening a pipe waits for somebody to write to it.
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder), "rb") as f:
        found = os.fstat(f.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{name} is not a regular file")
        data = f.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"it has {max(found.st_size, len(data)):,} bytes, more than {MAX_FILE_BYTES:,}")
        return data


def step(folder: int, name: str, *, make: bool) -> int:
    """The folder `name` in an open folder, opened. Raises OSError for a link and for what is no folder."""
    if make:
        with contextlib.suppress(FileExistsError):  # whether it is a folder, opening it tells
            os.mkdir(name, dir_fd=folder)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def replace(folder: int, name: str, data: bytes) -> None:
    """Atomic: the file is the old one or the new one, whole and on disk, whenever the machine stops."""
    mode = None
    with contextlib.suppress(FileNotFoundError):
        there = os.lstat(name, dir_fd=folder).st_mode
        if not stat.S_ISREG(there):
            raise OSError(f"{name} is not a regular file")
        mode = stat.S_IMODE(there)
    part = f".aether-{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(part, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(opened, "wb") as f:
            if mode is not None:
                os.fchmod(f.fileno(), mode)
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(part, dir_fd=folder)
        raise
    os.fsync(folder)


def text_of(data: bytes) -> str:
    """UTF-8. Raises ValueError for anything else."""
    if b"\0" in data:
        raise ValueError("it is binary")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is binary, or text in another encoding than UTF-8") from None


def search(folder: int, pattern: re.Pattern[str]) -> dict[str, object]:
    """Lines that match, and what was not looked at."""
    hits: list[dict[str, object]] = []
    skipped = cut = 0
    for visited, (path, opened, name) in enumerate(files(folder)):
        if visited == MAX_VISITED:
            return {"hits": hits, "skipped_files": skipped, "left_out": f"all after {MAX_VISITED:,} files"}
        try:
            lines = text_of(read(opened, name)).splitlines()
        except (OSError, ValueError):
            skipped += 1
            continue
        for number, line in enumerate(lines, 1):
            cut += len(line) > MAX_LINE
            if pattern.search(line[:MAX_LINE]):
                if len(hits) == MAX_HITS:
                    return {"hits": hits, "skipped_files": skipped, "left_out": f"all after {MAX_HITS} lines"}
                hits.append({"path": path, "line": number, "text": line[:SHOWN]})
    left_out = f"the ends of {cut} lines above {MAX_LINE:,} characters" if cut else None
    return {"hits": hits, "skipped_files": skipped, "left_out": left_out}


if __name__ == "__main__":
    json.dump(search(int(sys.argv[1]), re.compile(sys.argv[2])), sys.stdout)

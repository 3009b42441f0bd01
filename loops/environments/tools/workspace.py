"""Tools that read and write inside one folder.

Knows paths below the folder; knows nothing of what stands above it. Invariant: no path leads out of the folder, also
while somebody else moves things about in it: every step is opened from the one before, and no link is followed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from loops.environments.tools import folder as within
from loops.environments.tools.declare import declare
from loops.environments.tools.folder import MAX_FILE_BYTES, MAX_VISITED
from loops.environments.tools.tool import Tool
from loops.environments.tools.vault import Vault
from loops.errors import ScenarioInvalid, ToolFailed

MAX_LISTED = 1_000
"""Files a listing names."""

SEARCH_S = 10.0
"""Seconds a search may take; a pattern that backtracks for ever is stopped with its process."""

RelativePath = Annotated[str, Field(description="Path below the workspace, such as notes/today.md")]


class Listing(TypedDict):
    files: list[str]
    left_out: str | None
    """What is missing here, None when nothing is."""


class Hit(TypedDict):
    path: str
    line: int
    text: str


class Found(TypedDict):
    hits: list[Hit]
    skipped_files: int
    """Binary, too large, or not readable."""
    left_out: str | None


def workspace_tools(folder: Path, *, vault: Vault) -> list[Tool]:
    """The tools, in a folder that is made when missing. Raises `ScenarioInvalid` when it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScenarioInvalid(f"the workspace {str(folder)!r} cannot be made: {error.strerror}") from error
    work = Workspace(folder.resolve())
    declared = [
        declare(work.read_file, effect="read"),
        declare(work.list_files, effect="read"),
        declare(work.search_files, effect="read", timeout_s=SEARCH_S + 5),
        declare(work.write_file, effect="probeable", probe=work.written),
        declare(work.edit_file, effect="probeable", probe=work.edited),
    ]
    return [declaration.bind(vault) for declaration in declared]


class Workspace:
    """The folder `root`. Its methods raise `ToolFailed`: invalid for a path out of it, else raised."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read_file(
        self,
        path: RelativePath,
        start: Annotated[int, Field(ge=1, description="First line, from 1")] = 1,
        lines: Annotated[int | None, Field(ge=1, description="How many lines; all when left out")] = None,
    ) -> str:
        """Reads a text file of the workspace, or some of its lines."""
        text = self._text(path)
        if start == 1 and lines is None:
            return text
        all_lines = text.splitlines(keepends=True)
        if start > len(all_lines):
            raise ToolFailed(f"{path} has {len(all_lines)} lines; line {start} is not there")
        return "".join(all_lines[start - 1 : None if lines is None else start - 1 + lines])

    def list_files(
        self,
        path: RelativePath = ".",
        pattern: Annotated[str, Field(description="Such as *.md; * stands for any characters, / too")] = "*",
    ) -> Listing:
        """Lists the regular files below a folder of the workspace."""
        listed: list[str] = []
        with self._folder(_parts(path), path) as folder:
            for visited, (below, _, _) in enumerate(within.files(folder)):
                if visited == MAX_VISITED:
                    return Listing(files=listed, left_out=f"all after {MAX_VISITED:,} files were looked at")
                if not fnmatchcase(below, pattern):
                    continue
                if len(listed) == MAX_LISTED:
                    return Listing(files=listed, left_out=f"all after {MAX_LISTED:,} files; list a folder below")
                listed.append(str(PurePosixPath(path) / below))
        return Listing(files=listed, left_out=None)

    def search_files(
        self,
        pattern: Annotated[str, Field(description="Python regular expression, matched line by line")],
        path: RelativePath = ".",
    ) -> Found:
        """Finds the lines that match in the text files below a folder of the workspace."""
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ToolFailed(f"the pattern is no regular expression: {error}", "invalid") from None
        with self._folder(_parts(path), path) as folder:
            # In a process of its own: a match holds the interpreter and cannot be interrupted from another thread.
            command = [sys.executable, "-I", "-S", within.__file__, str(folder), pattern]
            try:
                done = subprocess.run(
                    command, pass_fds=[folder], stdin=subprocess.DEVNULL, capture_output=True, timeout=SEARCH_S
                )
            except subprocess.TimeoutExpired:
                advice = "take a simpler pattern or a smaller folder"
                raise ToolFailed(f"the search took longer than {SEARCH_S:g} s and was stopped; {advice}") from None
            except ValueError as error:
                raise ToolFailed(f"the pattern cannot be passed on: {error}", "invalid") from None
        if done.returncode != 0:
            raise ToolFailed(f"the search ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
        found: Found = json.loads(done.stdout)
        for hit in found["hits"]:
            hit["path"] = str(PurePosixPath(path) / hit["path"])
        return found

    def write_file(self, path: RelativePath, content: Annotated[str, Field(description="All of the file")]) -> str:
        """Writes a text file of the workspace, with the folders above it; one that is there is replaced."""
        parts = _parts(path)
        if not parts:
            raise ToolFailed(f"{path!r} is the workspace itself, not a file", "invalid")
        data = _encoded(content)
        with self._folder(parts[:-1], path, make=True) as folder, _said(path):
            within.replace(folder, parts[-1], data)
        return f"{path}: {len(data):,} bytes written"

    def written(self, path: RelativePath, content: str) -> str:
        """Whether the file holds exactly that."""
        data = _encoded(content)
        try:
            same = self._bytes(path) == data
        except ToolFailed:
            same = False
        if not same:
            raise ToolFailed(f"{path} was not written: it does not hold this content", "not_done")
        return f"{path}: {len(data):,} bytes written"

    def edit_file(
        self,
        path: RelativePath,
        old: Annotated[str, Field(min_length=1, description="Text that stands in the file exactly once")],
        new: Annotated[str, Field(description="What stands there afterwards")],
    ) -> str:
        """Replaces one passage of a text file of the workspace."""
        if old == new:
            raise ToolFailed("old and new are the same; nothing to do", "invalid")
        text = self._text(path)
        count = _count(text, old)
        if count != 1:
            raise ToolFailed(f"old stands {count} times in {path}, not once; nothing was changed")
        parts = _parts(path)
        with self._folder(parts[:-1], path) as folder, _said(path):
            within.replace(folder, parts[-1], _encoded(text.replace(old, new)))
        return f"{path}: 1 passage replaced"

    def edited(self, path: RelativePath, old: str, new: str) -> str:
        """Whether the file reads as it would after the edit: `old` would stand there once if one `new` were taken
        back, or, after a deletion, stands there no more."""
        text = self._text(path)
        back = (text[:at] + old + text[at + len(new) :] for at in _places(text, new)) if new else iter(())
        if any(_count(before, old) == 1 for before in back) or (not new and old not in text):
            return f"{path}: 1 passage replaced"
        raise ToolFailed(f"{path} was not edited: old does not read as replaced", "not_done")

    def _text(self, path: str) -> str:
        data = self._bytes(path)
        try:
            return within.text_of(data)
        except ValueError as error:
            raise ToolFailed(f"{path} cannot be read as text: {error}") from None

    def _bytes(self, path: str) -> bytes:
        parts = _parts(path)
        if not parts:
            raise ToolFailed(f"{path!r} is the workspace itself, not a file", "invalid")
        with self._folder(parts[:-1], path) as folder, _said(path):
            try:
                return within.read(folder, parts[-1])
            except ValueError as error:
                raise ToolFailed(f"{path} cannot be read: {error}") from None

    @contextmanager
    def _folder(self, parts: tuple[str, ...], path: str, *, make: bool = False) -> Iterator[int]:
        """The folder, opened from the root down."""
        with _said(path):
            opened = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                with _said(path):
                    below = within.step(opened, part, make=make)
                os.close(opened)
                opened = below
            yield opened
        finally:
            os.close(opened)


def _parts(path: str) -> tuple[str, ...]:
    """The names on the way, without `.`. Raises `ToolFailed` (invalid) for a path that leads out."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or not path:
        advice = "give a path below the workspace, without .. and without a / at its start"
        raise ToolFailed(f"{path!r} does not stay in the workspace; {advice}", "invalid")
    return pure.parts


@contextmanager
def _said(path: str) -> Iterator[None]:
    """Turns what the system says into what a model can act on."""
    try:
        yield
    except FileNotFoundError:
        raise ToolFailed(f"{path} is not in the workspace; list_files tells what is") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise ToolFailed(f"{path} cannot be used: {why} (symbolic links are not followed)") from None


def _encoded(content: str) -> bytes:
    try:
        data = content.encode()
    except UnicodeEncodeError as error:
        raise ToolFailed(f"the content is no text that UTF-8 can hold: {error.reason}", "invalid") from None
    if len(data) > MAX_FILE_BYTES:
        raise ToolFailed(f"the content has {len(data):,} bytes, more than {MAX_FILE_BYTES:,}", "invalid")
    return data


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at != -1:
        yield at
        at = text.find(part, at + 1)


def _count(text: str, part: str) -> int:
    """Overlapping ones too, so that exactly one means that there is no choice."""
    return sum(1 for _ in _places(text, part))

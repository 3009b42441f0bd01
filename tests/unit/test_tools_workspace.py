"""The workspace tools: what they do inside the folder, and that no path leads out of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loops.environments.tools import workspace
from loops.environments.tools.folder import MAX_FILE_BYTES, MAX_HITS, MAX_LINE
from loops.environments.tools.tool import Caller
from loops.environments.tools.vault import Vault
from loops.environments.tools.workspace import Workspace, workspace_tools
from loops.errors import ScenarioInvalid, ToolFailed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("outside")
    return folder


def test_the_tools_are_classed_by_what_can_be_settled(folder: Path) -> None:
    classes = {tool.spec.name: tool.spec.effect_class for tool in workspace_tools(folder, vault=Vault())}
    assert classes == {
        "read_file": "read",
        "list_files": "read",
        "search_files": "read",
        "write_file": "probeable",
        "edit_file": "probeable",
    }


def test_the_folder_is_made_when_missing_and_a_file_in_its_place_is_said(tmp_path: Path) -> None:
    workspace_tools(tmp_path / "a" / "b", vault=Vault())
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ScenarioInvalid, match="cannot be made"):
        workspace_tools(tmp_path / "file", vault=Vault())


def test_what_is_written_is_read_listed_found_and_edited(folder: Path) -> None:
    work = Workspace(folder)
    work.write_file("notes/day.md", "one\ntwo\nthree\n")
    work.write_file("readme.txt", "two")
    assert work.read_file("notes/day.md") == "one\ntwo\nthree\n"
    assert work.read_file("notes/day.md", start=2, lines=1) == "two\n"
    assert work.list_files() == {"files": ["readme.txt", "notes/day.md"], "left_out": None}
    assert work.list_files("notes", "*.md") == {"files": ["notes/day.md"], "left_out": None}
    hits = [{"path": "readme.txt", "line": 1, "text": "two"}, {"path": "notes/day.md", "line": 2, "text": "two"}]
    assert work.search_files("^t.o$") == {"hits": hits, "skipped_files": 0, "left_out": None}
    assert work.search_files("t", "notes")["hits"][0]["path"] == "notes/day.md"
    work.edit_file("notes/day.md", "two", "2")
    assert (folder / "notes" / "day.md").read_text() == "one\n2\nthree\n"
    assert [path.name for path in (folder / "notes").iterdir()] == ["day.md"]


def test_a_written_file_keeps_its_mode(folder: Path) -> None:
    (folder / "run.sh").write_text("")
    (folder / "run.sh").chmod(0o750)
    Workspace(folder).write_file("run.sh", "echo")
    assert (folder / "run.sh").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/passwd", "a/../../outside.txt", "", "a\0b", "..", "/"])
def test_a_path_that_leads_out_is_refused(folder: Path, path: str) -> None:
    work = Workspace(folder)
    calls: list[Callable[[], object]] = [
        lambda: work.read_file(path),
        lambda: work.write_file(path, "x"),
        lambda: work.edit_file(path, "a", "b"),
        lambda: work.list_files(path),
        lambda: work.search_files("x", path),
    ]
    for call in calls:
        with pytest.raises(ToolFailed, match="does not stay in the workspace") as failed:
            call()
        assert failed.value.kind == "invalid"


def test_links_to_files_and_folders_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "file").symlink_to(tmp_path / "outside.txt")
    (folder / "up").symlink_to(tmp_path)
    work = Workspace(folder)
    calls: list[Callable[[], object]] = [
        lambda: work.read_file("file"),
        lambda: work.read_file("up/outside.txt"),
        lambda: work.write_file("file", "x"),
        lambda: work.write_file("up/new.txt", "x"),
        lambda: work.edit_file("up/outside.txt", "outside", "x"),
        lambda: work.list_files("up"),
        lambda: work.search_files("outside", "up"),
    ]
    for call in calls:
        with pytest.raises(ToolFailed, match="links are not followed"):
            call()
    assert work.list_files()["files"] == []
    assert work.search_files("outside")["hits"] == []
    assert (tmp_path / "outside.txt").read_text() == "outside"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside.txt", "work"]


def test_a_parent_swapped_for_a_link_at_any_moment_leads_nowhere_else(folder: Path, tmp_path: Path) -> None:
    """Two threads race: one swaps a folder with a link to a folder outside, the other edits through it."""
    outside = tmp_path / "elsewhere"
    for place in (outside, folder / "d"):
        place.mkdir()
        (place / "f").write_text("one")
    (folder / "link").symlink_to(outside)
    work = Workspace(folder)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for one, two in (("d", "real"), ("link", "d"), ("d", "link"), ("real", "d")):
                (folder / one).rename(folder / two)

    swapper = threading.Thread(target=swap)
    swapper.start()
    edited = refused = 0
    old, new = "one", "two"
    try:
        while edited < 50 or refused < 50:
            try:
                work.edit_file("d/f", old, new)
            except ToolFailed:
                refused += 1
            else:
                edited += 1
                old, new = new, old
            assert (outside / "f").read_text() == "one"
    finally:
        done.set()
        swapper.join()
    assert [path.name for path in outside.iterdir()] == ["f"]


def test_special_files_are_refused_at_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    work = Workspace(folder)
    with pytest.raises(ToolFailed, match=r"not a regular file|No such device"):
        work.read_file("pipe")
    with pytest.raises(ToolFailed, match="not a regular file"):
        work.write_file("pipe", "x")
    assert work.search_files("x") == {"hits": [], "skipped_files": 0, "left_out": None}


def test_binary_and_large_files_are_said(folder: Path) -> None:
    (folder / "binary").write_bytes(b"a\0b")
    (folder / "latin").write_bytes("käse".encode("latin-1"))
    (folder / "large").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    work = Workspace(folder)
    for path, words in (("binary", "binary"), ("latin", "UTF-8"), ("large", "1,048,577 bytes")):
        with pytest.raises(ToolFailed, match=words):
            work.read_file(path)
    assert work.search_files("x")["skipped_files"] == 3
    with pytest.raises(ToolFailed, match="1,048,577 bytes"):
        work.write_file("new", "x" * (MAX_FILE_BYTES + 1))
    assert not (folder / "new").exists()


def test_what_is_not_there_is_said(folder: Path) -> None:
    (folder / "short").write_text("one line")
    work = Workspace(folder)
    with pytest.raises(ToolFailed, match="list_files tells what is"):
        work.read_file("missing/file")
    with pytest.raises(ToolFailed, match="has 1 lines; line 2 is not there"):
        work.read_file("short", start=2)
    with pytest.raises(ToolFailed, match="is the workspace itself"):
        work.write_file(".", "x")


@pytest.mark.parametrize(("text", "times"), [("b", 0), ("aa", 2), ("a b a", 2)])
def test_an_edit_needs_exactly_one_place(folder: Path, text: str, times: int) -> None:
    (folder / "f").write_text(text)
    with pytest.raises(ToolFailed, match=f"old stands {times} times in f"):
        Workspace(folder).edit_file("f", "a", "c")
    assert (folder / "f").read_text() == text


def test_overlapping_places_count_each(folder: Path) -> None:
    (folder / "f").write_text("aaa")
    with pytest.raises(ToolFailed, match="stands 2 times"):
        Workspace(folder).edit_file("f", "aa", "b")


@pytest.mark.parametrize(
    ("before", "old", "new"),
    [("x = 1\n", "1", "2"), ("anchor\n", "anchor", "anchor\nmore"), ("gone here", " here", ""), ("2 and 1", "1", "2")],
)
def test_the_probe_of_an_edit_tells_done_from_not_done(folder: Path, before: str, old: str, new: str) -> None:
    (folder / "f").write_text(before)
    work = Workspace(folder)
    with pytest.raises(ToolFailed) as failed:
        work.edited("f", old, new)
    assert failed.value.kind == "not_done"
    answer = work.edit_file("f", old, new)
    assert work.edited("f", old, new) == answer


def test_the_probe_of_a_write_tells_done_from_not_done(folder: Path) -> None:
    tools = {tool.spec.name: tool for tool in workspace_tools(folder, vault=Vault())}
    write = tools["write_file"]
    caller = Caller(session="s", person=None, effect="e" * 64)
    arguments: dict[str, Any] = {"path": "f", "content": "new"}
    assert write.probe is not None
    for before in (None, "old"):
        if before is not None:
            (folder / "f").write_text(before)
        with pytest.raises(ToolFailed) as failed:
            write.probe(arguments, caller)
        assert failed.value.kind == "not_done"
    answer = write.run(arguments, caller)
    assert write.probe(arguments, caller) == answer


def test_lists_and_searches_say_what_they_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "MAX_LISTED", 2)
    for name in "abc":
        (folder / name).write_text("x\n" * MAX_HITS)
    work = Workspace(folder)
    assert work.list_files() == {"files": ["a", "b"], "left_out": "all after 2 files; list a folder below"}
    found = work.search_files("x")
    assert (len(found["hits"]), found["left_out"]) == (MAX_HITS, f"all after {MAX_HITS} lines")
    (folder / "a").write_text("y" * MAX_LINE + "needle")
    found = work.search_files("needle", ".")
    assert (found["hits"], found["left_out"]) == ([], "the ends of 1 lines above 10,000 characters")


def test_a_pattern_that_backtracks_for_ever_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "SEARCH_S", 0.5)
    (folder / "f").write_text("a" * 5_000 + "b")
    with pytest.raises(ToolFailed, match=r"longer than 0\.5 s"):
        Workspace(folder).search_files("(a+)+$")


@pytest.mark.parametrize("pattern", ["(", "a\0(?P<"])
def test_a_pattern_that_is_none_is_said(folder: Path, pattern: str) -> None:
    with pytest.raises(ToolFailed, match="no regular expression") as failed:
        Workspace(folder).search_files(pattern)
    assert failed.value.kind == "invalid"


def test_a_file_name_that_is_no_text_is_shown_as_far_as_it_is(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))).write_text("x")
    assert Workspace(folder).list_files()["files"] == ["caf\ufffd"]

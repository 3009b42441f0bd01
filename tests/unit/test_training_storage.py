"""Where the states of a course lie, without a cluster."""

import os
from pathlib import Path

import pytest

from loops.training.storage import LISTED, mend, remove

KEY = "tiny-0"


@pytest.mark.parametrize(
    ("content", "stays"),
    [(b'{"checkpoint_results": []}', True), (b'{"checkpoi', False), (b"", False)],
    ids=["whole", "cut off", "empty"],
)
def test_a_course_that_no_longer_says_what_was_kept_is_begun_anew(tmp_path: Path, content: bytes, stays: bool) -> None:
    mend(tmp_path, KEY)  # nothing was begun
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / LISTED).write_bytes(content)
    mend(tmp_path, KEY)
    assert (tmp_path / KEY).exists() == stays


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_course_is_removed_from_a_folder_or_a_url_and_nothing_beside_it(tmp_path: Path, scheme: str) -> None:
    for name in (KEY, "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / LISTED).write_bytes(b"{}")
    remove(f"{scheme}{tmp_path}" if scheme else tmp_path, KEY)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_course_whose_removal_is_cut_off_does_not_say_that_states_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = tmp_path / KEY
    course.mkdir()
    (course / LISTED).write_bytes(b'{"checkpoint_results": []}')
    monkeypatch.chdir(course)
    for _ in range(25):  # deeper than a path can be long: so far comes who removes it
        Path("n" * 200).mkdir()
        os.chdir("n" * 200)
    with pytest.raises(OSError, match="Cannot delete"):
        remove(tmp_path, KEY)
    assert course.exists()
    assert not (course / LISTED).exists()
    mend(tmp_path, KEY)

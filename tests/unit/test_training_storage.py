"""Where the states of a course lie, without a cluster."""

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

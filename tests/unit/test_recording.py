"""What a training says to its log: its looks wait for nothing and hold nothing up, its end is not lost."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from runtime import entry
from runtime.errors import Unavailable
from runtime.models.training import recording
from runtime.models.training.recording import Looks, enter_trained
from runtime.models.training.unfinished import unfinished
from runtime.people import letters
from telemetry.events.learn import ModelTrained, TrainingProgressed
from telemetry.log import EventLog, Head, open_log
from tests.desks import PlayedDesk, served

TRAINED = ModelTrained(
    model="maze@4f6b01aabbcc",
    from_position=1,
    to_position=9,
    data="0" * 64,
    config={},
    code="0",
    metrics={"error_over_copy": 0.5},
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may take long for three looks."""
    monkeypatch.setattr(recording, "LAST_S", 120.0)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A log that nobody holds."""
    path = tmp_path / "log.db"
    open_log(path).close()
    return str(path)


def look(step: int, *, loss: float = 1.0) -> TrainingProgressed:
    return TrainingProgressed(model="maze", run="a.1", step=step, steps=40, loss=loss, held_out=0.5)


def on(url: str) -> list[object]:
    with closing(open_log(url, mode="read")) as log:
        return [one.event for one in log.read("model/maze")]


def test_looks_stand_on_the_log_in_their_order_and_each_once(url: str) -> None:
    with Looks(url, said=pytest.fail) as looks:
        for step in (10, 20, 20, 30):
            looks.tell(look(step))
    assert on(url) == [look(10), look(20), look(30)]


def test_a_look_that_says_otherwise_of_a_step_changes_nothing(url: str) -> None:
    with Looks(url, said=pytest.fail) as looks:
        looks.tell(look(10))
        looks.tell(look(10, loss=2.0))
        looks.tell(look(20))
    assert on(url) == [look(10), look(20)]


def test_a_log_that_is_held_is_said_once_and_its_looks_are_entered_when_it_is_free(url: str) -> None:
    said: list[str] = []
    heard = threading.Event()

    def hear(text: str) -> None:
        said.append(text)
        heard.set()

    with Looks(url, said=hear) as looks:
        with closing(open_log(url)):
            looks.tell(look(10))
            assert heard.wait(30)
        looks.tell(look(20))
    assert on(url) == [look(10), look(20)]
    (text,) = said
    assert "looks at this training cannot be entered now, which it does not wait for" in text
    assert f"pid {os.getpid()}" in text


def test_a_log_that_stays_held_keeps_the_training_from_nothing(url: str) -> None:
    said: list[str] = []
    with closing(open_log(url)) as holder:
        with Looks(url, said=said.append) as looks:
            looks.tell(look(10))
            looks.tell(look(20))
        assert list(holder.read("model/maze")) == []
    assert len(said) == 1


def test_a_live_host_enters_looks(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))
    with served(PlayedDesk(), tmp_path / "log.db"), Looks(str(tmp_path / "log.db"), said=pytest.fail) as looks:
        looks.tell(look(10))
    assert not (tmp_path / "log.db").exists()


def test_the_end_waits_for_a_log_that_is_held_and_says_so(url: str) -> None:
    held: list[EventLog] = [open_log(url)]
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        held.pop().close()

    assert enter_trained(url, TRAINED, refs=(), run="a", said=hear) == "model/maze@1"
    assert enter_trained(url, TRAINED, refs=(), run="a", said=hear) == "model/maze@1"
    assert on(url) == [TRAINED]
    assert said == ["maze@4f6b01aabbcc is kept; the log is held, waiting for it up to 60 s"]


def test_a_log_that_stays_held_is_exit_6_and_says_where_the_model_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "PATIENCE_S", 0.0)
    with (
        closing(open_log(url)),
        pytest.raises(Unavailable, match=r"maze@4f6b01aabbcc is kept.* is held by pid") as held,
    ):
        enter_trained(url, TRAINED, refs=(), run="a", said=lambda _: None)
    assert "an equal training gives the same model" in str(held.value)


def test_a_server_that_is_away_keeps_the_last_word_from_nobody(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "PATIENCE_S", 0.0)
    url = f"postgresql://127.0.0.1:{closed_port}/aether"
    with pytest.raises(Unavailable, match=r"maze@4f6b01aabbcc is kept.* does not answer"):
        enter_trained(url, TRAINED, refs=(), run="a", said=lambda _: None)


def test_who_is_interrupted_while_the_log_is_held_hears_that_the_model_is_kept(url: str) -> None:
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        if len(said) == 1:
            raise KeyboardInterrupt

    with closing(open_log(url)), pytest.raises(KeyboardInterrupt):
        enter_trained(url, TRAINED, refs=(), run="a", said=hear)
    assert said[1].startswith("maze@4f6b01aabbcc is kept, and the log may not say so. Then train it again")


def test_a_word_that_another_comes_before_is_entered_after_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_log(url)) as log:
        head = log.head

        def overtaken(stream: str) -> Head | None:
            monkeypatch.undo()
            found = head(stream)
            entry.entered(log, look(10), refs=(), run="a.1.10")
            return found

        monkeypatch.setattr(log, "head", overtaken)
        assert entry.entered(log, TRAINED, refs=(), run="a") == "model/maze@2"
    assert on(url) == [look(10), TRAINED]


def test_an_unfinished_training_goes_on_under_its_name_and_one_that_ended_leaves_nothing(tmp_path: Path) -> None:
    with unfinished(tmp_path, "maze", "0a1b") as first:
        (first.folder / "state").write_text("7")
    assert first.run.startswith("0a1b.")
    with unfinished(tmp_path, "maze", "0a1b") as again, unfinished(tmp_path, "maze", "ffff") as other:
        assert (again.run, again.folder) == (first.run, first.folder)
        assert other.run != first.run
        again.ended = True
    assert not first.folder.exists()
    assert not other.folder.exists(), "nothing of it was kept"
    with unfinished(tmp_path, "maze", "0a1b") as later:
        assert later.run != first.run


def test_of_equal_trainings_one_is_under_way(tmp_path: Path) -> None:
    with (
        unfinished(tmp_path, "maze", "0a1b"),
        pytest.raises(Unavailable, match=r"the same training of maze is under way in pid \d+ on"),
        unfinished(tmp_path, "maze", "0a1b"),
    ):
        pytest.fail("two at once")


def test_one_that_comes_as_the_first_ends_is_the_only_one_after_it(tmp_path: Path) -> None:
    first = ExitStack()
    first.enter_context(unfinished(tmp_path, "maze", "0a1b")).ended = True

    class Late(type(tmp_path)):  # type: ignore[misc]  # the class of paths of this system
        def open(self, *args: object, **kwargs: object) -> object:
            opened = super().open(*args, **kwargs)
            if self.name == "lock":
                first.close()  # between the opening of the lock and its taking
            return opened

    with (
        unfinished(Late(tmp_path), "maze", "0a1b"),
        pytest.raises(Unavailable, match="under way"),
        unfinished(tmp_path, "maze", "0a1b"),
    ):
        pytest.fail("two at once")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_nothing_is_learnt(tmp_path: Path) -> None:
    (tmp_path / "training").write_text("a file")
    with (
        pytest.raises(Unavailable, match=r"Nothing was learnt\. Make room"),
        unfinished(tmp_path / "training", "maze", "0a1b"),
    ):
        pytest.fail("there is no folder")

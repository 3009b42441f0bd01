"""Promoted and taken back by a person: the log says so first, and the pointer follows it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from runtime.entry import enter
from runtime.errors import NotFound, UsageError
from runtime.models.registry.by_hand import Moved, promote_by_hand, roll_back_by_hand
from runtime.models.registry.pointers import PROMOTED
from runtime.models.registry.promotion import promoted
from runtime.models.registry.store import Kept, Registry, lay_down, laying_down
from runtime.models.registry.succession import Succession, succession
from runtime.models.standing import base_id
from runtime.people import letters
from runtime.scenario import parse_scenario
from telemetry.errors import LogNotFound
from telemetry.events.learn import ModelEntry, ModelPromoted, ModelRejected, ModelRolledBack
from telemetry.log import open_log
from tests.desks import PlayedDesk, served
from tests.local import Local

ROOT = Path(__file__).parents[2]
LEARNING = """
name = "maze"
environment = { id = "null:" }
learning = {}
"""
AT_ONCE = """
import sys
from pathlib import Path
from runtime.models.registry.by_hand import promote_by_hand
from runtime.models.registry.store import Registry
from telemetry.errors import LogHeld

for digest in sys.argv[3:]:
    while True:
        try:
            promote_by_hand(sys.argv[1], Registry(folder=Path(sys.argv[2])), f"maze@{digest}", why="")
            break
        except LogHeld:  # by the other one, for this moment
            continue
"""
FIRST, SECOND, THIRD = (f"maze@{digit * 12}" for digit in "abc")
BASE = "greedy@4f6b01aabbcc"


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "log.db"
    open_log(path).close()
    return str(path)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Three models of one name."""
    found = Registry(folder=tmp_path / "models")
    for model in (FIRST, SECOND, THIRD):
        lay(found, model)
    return found


def lay(registry: Registry, model: str) -> Kept:
    name, _, digest = model.partition("@")
    with laying_down(registry, name) as written:
        written.mkdir()
        (written / "weights").write_text(model)
        return lay_down(registry, written, digest)


def said(log: str) -> list[ModelEntry]:
    with closing(open_log(log, mode="read")) as store:
        return [recorded.event for recorded in store.read("model/maze")]  # type: ignore[misc]  # only those are on it


def stands(log: str) -> Succession:
    with closing(open_log(log, mode="read")) as store:
        return succession(store, "maze")


def pointer(registry: Registry) -> list[str]:
    return (registry.folder / "maze" / PROMOTED).read_text().split()


def test_a_persons_word_is_an_event_and_then_what_the_name_means(log: str, registry: Registry) -> None:
    enter(log, ModelPromoted(model=FIRST, incumbent=BASE, figures={"pairs": 40}), run="judged")
    assert promote_by_hand(log, registry, "maze@bbb", why="it is calmer") == Moved(
        "maze", SECOND, FIRST, "model/maze@2", mended=False
    )
    assert pointer(registry) == [SECOND, FIRST, BASE], "the order is the log's, though the pointer had missed its first"
    assert roll_back_by_hand(log, registry, "maze", why="it was not") == Moved("maze", FIRST, SECOND, "model/maze@3")
    assert said(log)[1:] == [
        ModelPromoted(model=SECOND, incumbent=FIRST, figures={"by_hand": True}, why="it is calmer"),
        ModelRolledBack(model=SECOND, to=FIRST, figures={"by_hand": True}, why="it was not"),
    ]
    assert roll_back_by_hand(log, registry, "maze", why="").model == BASE
    assert (promoted(registry, "maze"), stands(log).standing) == (BASE, BASE)
    with pytest.raises(NotFound, match=f"{BASE} stands, and nothing stood before it. Nothing was changed"):
        roll_back_by_hand(log, registry, "maze", why="")
    assert len(said(log)) == 4


def test_what_stands_is_promoted_without_a_word(log: str, registry: Registry) -> None:
    promote_by_hand(log, registry, FIRST, why="")
    assert promote_by_hand(log, registry, FIRST, why="") == Moved("maze", FIRST, None, None)
    assert len(said(log)) == 1


def test_where_the_log_says_nothing_the_pointer_does(log: str, registry: Registry, tmp_path: Path) -> None:
    promote_by_hand(log, registry, FIRST, why="")
    promote_by_hand(log, registry, SECOND, why="")
    other = str(tmp_path / "other.db")
    open_log(other).close()
    assert roll_back_by_hand(other, registry, "maze", why="") == Moved("maze", FIRST, SECOND, "model/maze@1")
    assert pointer(registry) == [FIRST]


def test_a_promotion_cut_off_after_its_event_is_finished_by_the_same_again(log: str, registry: Registry) -> None:
    enter(log, ModelPromoted(model=FIRST, incumbent=BASE, figures={}), run="cut off before the pointer")
    assert promote_by_hand(log, registry, FIRST, why="") == Moved("maze", FIRST, BASE, None, mended=True)
    assert pointer(registry) == [FIRST, BASE]


def test_a_roll_back_cut_off_after_its_event_is_finished_and_goes_no_further(log: str, registry: Registry) -> None:
    for model in (FIRST, SECOND):
        promote_by_hand(log, registry, model, why="")
    enter(log, ModelRolledBack(model=SECOND, to=FIRST, why="cut off before the pointer"), run="cut off")
    assert roll_back_by_hand(log, registry, "maze", why="") == Moved("maze", FIRST, SECOND, None, mended=True)
    assert pointer(registry) == [FIRST]
    assert len(said(log)) == 3


def test_a_canary_is_taken_back_before_what_stands_and_moves_no_pointer(log: str, registry: Registry) -> None:
    promote_by_hand(log, registry, FIRST, why="")
    enter(log, ModelPromoted(model=SECOND, incumbent=FIRST, figures={}, share=0.1), run="canary")
    assert stands(log) == Succession((FIRST,), canary=SECOND, share=0.1)
    assert roll_back_by_hand(log, registry, "maze", why="") == Moved("maze", FIRST, SECOND, "model/maze@3")
    assert stands(log) == Succession((FIRST,), taken_back=SECOND)
    assert pointer(registry) == [FIRST]


def test_a_canary_becomes_what_stands_or_is_one_no_more(log: str, registry: Registry) -> None:
    canary = ModelPromoted(model=SECOND, incumbent=BASE, figures={}, share=0.1)
    enter(log, canary, run="canary")
    assert stands(log).standing == BASE
    enter(log, canary.model_copy(update={"share": 1.0}), run="all")
    assert stands(log) == Succession((SECOND, BASE))
    enter(log, canary.model_copy(update={"model": THIRD, "incumbent": SECOND}), run="another")
    enter(log, ModelRejected(model=THIRD, incumbent=SECOND, figures={}, why="worse"), run="another")
    assert stands(log) == Succession((SECOND, BASE))


def test_what_stood_before_and_is_gone_is_named_and_nothing_is_said(log: str, registry: Registry) -> None:
    for model in (FIRST, SECOND):
        promote_by_hand(log, registry, model, why="")
    gone = registry.folder / "maze" / FIRST.partition("@")[2]
    (gone / "weights").unlink()
    gone.rmdir()
    with pytest.raises(NotFound, match=rf"{FIRST} stood before {SECOND}, and is gone: .* {SECOND} stands\. Put"):
        roll_back_by_hand(log, registry, "maze", why="")
    assert len(said(log)) == 2
    assert promote_by_hand(log, registry, THIRD, why="").before == SECOND


def test_mistakes_say_nothing_and_change_nothing(log: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say which model; name it NAME@DIGEST"):
        promote_by_hand(log, registry, "maze", why="")
    with pytest.raises(NotFound, match="did you mean 'maze'"):
        promote_by_hand(log, registry, "maize@abc", why="")
    with pytest.raises(NotFound, match="did you mean 'maze'"):
        roll_back_by_hand(log, registry, "maize", why="")
    with pytest.raises(UsageError, match="by its name alone"):
        roll_back_by_hand(log, registry, FIRST, why="")
    with pytest.raises(NotFound, match="no model 'maze' was ever promoted"):
        roll_back_by_hand(log, registry, "maze", why="")
    with pytest.raises(LogNotFound):
        promote_by_hand(str(tmp_path / "nowhere.db"), registry, FIRST, why="")
    assert said(log) == []
    assert not (registry.folder / "maze" / PROMOTED).exists()


def test_processes_that_promote_at_once_are_all_heard_and_the_last_one_stands(log: str, registry: Registry) -> None:
    digests = [f"{number:012x}" for number in range(8)]
    for digest in digests:
        lay(registry, f"maze@{digest}")
    arguments = (sys.executable, "-c", AT_ONCE, log, str(registry.folder))
    running = [subprocess.Popen([*arguments, *half], cwd=ROOT) for half in (digests[::2], digests[1::2])]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert sorted(stands(log).ids) == [f"maze@{digest}" for digest in digests]
    assert pointer(registry) == list(stands(log).ids)


def test_what_the_scenario_does_by_itself_stood_before_the_first_model(log: str, registry: Registry) -> None:
    base = run(log, "early", LEARNING)
    enter(log, ModelPromoted(model=FIRST, figures={}), run="nobody said over what")
    assert roll_back_by_hand(log, registry, "maze", why="").model == base
    promote_by_hand(log, registry, SECOND, why="")
    assert pointer(registry) == [SECOND, base]
    assert roll_back_by_hand(log, registry, "maze", why="").model == base
    with pytest.raises(NotFound, match=f"{base} stands, and nothing stood before it"):
        roll_back_by_hand(log, registry, "maze", why="")


def test_it_is_that_of_the_session_that_went_on_last_of_those_that_follow_the_name(
    log: str, registry: Registry
) -> None:
    run(log, "first", LEARNING)
    last = run(log, "a-later-one", LEARNING.replace("learning = {}", 'learning = { model = "maze", steps = 5 }'))
    run(log, "another", LEARNING.replace('"maze"', '"other"'))
    run(log, "none", LEARNING.replace("learning = {}", ""))
    assert promote_by_hand(log, registry, FIRST, why="").before == last
    assert pointer(registry) == [FIRST, last]


def run(log: str, session: str, scenario: str) -> str:
    """A session of one cycle; what its scenario does by itself."""
    with closing(open_log(log)) as store:
        local = Local(store)
        local.run(session, scenario, cycles=1)
        local.close()
    return base_id(parse_scenario(scenario, source="here"))


def test_a_live_host_of_the_log_says_it(
    log: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))
    with served(PlayedDesk(), log):
        assert promote_by_hand(log, registry, FIRST, why="").event == "model/maze@1"
    assert said(log) == [], "the host has it, and no other process wrote the log"

"""A candidate is judged by real sessions of a small world: what is compared, counted, and not run twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from loops.lessons import read_lessons
from runtime.errors import Unavailable, UsageError, VerificationFailed
from runtime.hosting.orders import SessionOrder
from runtime.learning.fleet import Ran, ran
from runtime.learning.judging.evaluate import Evaluation, Look, evaluate
from runtime.learning.judging.promotion import settle
from runtime.learning.judging.sequential import Design
from runtime.learning.judging.trial import Trial, seeds_of
from runtime.models.learnt import read_learnt
from runtime.models.registry.store import Registry, find, lay_down, laying_down
from runtime.models.registry.succession import succession
from runtime.models.standing import base_id, standing
from runtime.models.training.sources import sources
from runtime.models.training.train import Order, Watch, split, train
from runtime.models.training.unfinished import Storage
from runtime.scenario import parse_scenario
from runtime.sessions import opened
from telemetry.events import Recorded, learn
from telemetry.events.values import ModelId
from telemetry.log import open_log
from tests.jepa_worlds import CONFIG
from tests.local import Cut, Cutter, Local
from tests.planned import PLANNING
from tests.worlds import PROBES
from world_model.checkpoint import save
from world_model.jepa.fit import fit
from world_model.plan.landmarks import Landmarks

FRAMES = 16
WORLD = f'environment = {{ id = "gymnasium:AetherLine-v0", max_frames = {FRAMES}, options = {{ mark = "trial" }} }}'
WIDE = {"latent": 2, "sigreg_weight": 1.0}
FIRST = 20
"""The least of which one may be left out."""
FEW = Design((2, 3))
LINE = f"""
name = "plane"
{WORLD}
memory = {{ recall = 0 }}
reasoner = {{ kind = "explore", {PLANNING} }}
[learning]
pairs = [{FIRST}, 24]
"""
GATHERED = LINE.replace(f"max_frames = {FRAMES}", f"max_frames = {FRAMES}, episodes = 4").partition("[learning]")[0]
FILE = parse_scenario(LINE, source="scenario")
BASE = base_id(FILE)


LINEAR = Order(name="plane", kind="linear")
LIKE = Order(name="plane-two", kind="linear", seed=1)


@dataclass
class Place:
    """A log with sessions to learn from, a registry, and who runs sessions in this process: `left` of them, then it is
    interrupted; `cut` ends the last of those at that commit."""

    folder: Path
    left: int | None = None
    cut: int | None = None
    orders: list[SessionOrder] = field(default_factory=list)

    @property
    def url(self) -> str:
        return str(self.folder / "log.db")

    @property
    def registry(self) -> Registry:
        return Registry(folder=self.folder / "models")

    def run(self, orders: Sequence[SessionOrder]) -> Ran:
        with closing(open_log(self.url)) as log:
            local = Local(log)
            local.registry = self.registry
            for order in orders:
                if self.left == 0:
                    local.close()
                    raise KeyboardInterrupt
                self.left = None if self.left is None else self.left - 1
                commits = Cutter(at=self.cut) if self.cut and self.left == 0 else None
                self._run(local, order, commits)
                self.orders.append(order)
            local.close()
            return ran(log, orders, errors=(), exit_code=0)

    def _run(self, local: Local, order: SessionOrder, commits: Cutter | None) -> None:
        assert order.scenario_text is not None
        try:
            local.run(
                order.session,
                order.scenario_text,
                seed=order.seed,
                cycles=order.cycles,
                model=order.model,
                purpose=order.purpose,
                commits=commits,
            )
        except Cut:
            assert commits is not None

    def evaluate(self, candidate: ModelId, incumbent: ModelId = BASE, **more: object) -> Evaluation:
        trial = Trial(FILE, candidate=candidate, incumbent=incumbent)
        return evaluate(trial, url=self.url, registry=self.registry, run=self.run, **more)  # type: ignore[arg-type]  # as given

    def settle(self, candidate: ModelId, evaluation: Evaluation, **more: float) -> str | None:
        trial = Trial(FILE, candidate=candidate, incumbent=BASE)
        return settle(trial, evaluation, url=self.url, registry=self.registry, **more)

    def entries(self, *types: str) -> list[Recorded]:
        with closing(open_log(self.url, mode="read")) as log:
            return list(log.read("model/plane", types=types)) if log.head("model/plane") else []

    def seeds(self, purpose: str | None) -> list[int]:
        with closing(open_log(self.url, mode="read")) as log:
            first = [opened(log, recorded.stream) for recorded in log.read_all(types=("session.opened",))]
        return [each.seed for each in first if each.purpose == purpose]


def gathered(place: Place, seeds: Sequence[int]) -> None:
    with closing(open_log(place.url)) as log:
        local = Local(log)
        for seed in seeds:
            local.run(f"lived-{seed}", GATHERED, seed=seed)
        local.close()


def learnt(place: Place, order: Order = LINEAR, *, where: str | None = None) -> ModelId:
    with closing(open_log(place.url, mode="read")) as log:
        chosen = sources(log, scenario="plane", where=where)
        storage = Storage(place.folder / "training")
        made = train(log, chosen, order, registry=place.registry, storage=storage, watch=Watch())
    return made.kept.model


def hastily_learnt(place: Place) -> ModelId:
    """A model that a few steps made of what a linear one was learnt from."""
    said = read_learnt(find(place.registry, learnt(place, LIKE)).folder)
    with closing(open_log(place.url, mode="read")) as log:
        experience = read_lessons(log, sources(log, scenario="plane")).experience
    fitted = fit(split(experience)[0], CONFIG.model_copy(update=WIDE), steps=30, seed=0, name="hasty")
    landmarks = Landmarks.of(fitted.model.outcomes(experience), experience, seed=0)
    with laying_down(place.registry, "hasty") as written:
        model = save(written, fitted.model, landmarks=landmarks, metrics={})
        said.model_copy(update={"model": model}).write(written)
        lay_down(place.registry, written, model.partition("@")[2])
    return model


@contextmanager
def failing(*, at: int, times: int) -> Iterator[None]:
    """The environment raises at its step number `at` from now on, and `times` times in all, one in each session."""
    seen, left = 0, times

    def probe() -> None:
        nonlocal seen, left
        seen += 1
        if seen >= at and left:
            left, seen = left - 1, 0
            raise RuntimeError("no more frames")

    PROBES["trial"] = probe
    try:
        yield
    finally:
        del PROBES["trial"]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("lived"))
    gathered(place, range(8))
    return place


@pytest.fixture
def place(lived: Place, tmp_path: Path) -> Place:
    """The same sessions in a log of its own, with a registry of its own."""
    return copied(lived, tmp_path / "place")


def copied(place: Place, folder: Path) -> Place:
    shutil.copytree(place.folder, folder)
    return Place(folder)


class Judged(NamedTuple):
    place: Place
    candidate: ModelId
    evaluation: Evaluation
    told: list[Look]


@pytest.fixture(scope="module")
def judged(lived: Place, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A model that goes to the goal against a scenario that wanders; the environment fails in one session."""
    place = copied(lived, tmp_path_factory.mktemp("judged") / "place")
    candidate = learnt(place)
    told: list[Look] = []
    with failing(at=40, times=1):
        found = place.evaluate(candidate, told=told.append)
    return Judged(place, candidate, found, told)


@pytest.fixture
def promoted(judged: Judged, tmp_path: Path) -> Judged:
    """A copy of it to go on with."""
    return judged._replace(place=copied(judged.place, tmp_path / "promoted"))


def test_a_model_that_goes_to_the_goal_is_better_than_a_scenario_that_wanders(judged: Judged) -> None:
    (look,) = judged.evaluation.looks
    assert judged.told == [look]
    assert look.judgement.decision == "promote", look.judgement.why
    figures = look.judgement.figures
    assert figures["success"] > figures["success_before"]
    assert figures["gain_bound"] > 0
    assert "error_over_copy" in figures
    assert "error_over_copy_before" not in figures  # the scenario's own policy foresees nothing


def test_each_look_is_on_the_log_with_the_sessions_that_it_rests_on(judged: Judged) -> None:
    (look,) = judged.evaluation.looks
    (entered,) = judged.place.entries("learn.model_evaluated")
    assert isinstance(entered.event, learn.ModelEvaluated)
    assert (entered.event.model, entered.event.incumbent) == (judged.candidate, BASE)
    assert entered.event.figures == look.judgement.figures
    assert entered.id == look.event
    assert set(json.loads(entered.refs)) == set(look.ends)
    with closing(open_log(judged.place.url, mode="read")) as log:
        streams = {end.partition("@")[0] for end in look.ends}
        assert {opened(log, stream).purpose for stream in streams} == {"evaluation"}
    assert len(streams) == 2 * FIRST


def test_a_pair_whose_environment_failed_is_left_out_and_counted(judged: Judged) -> None:
    figures = judged.evaluation.judgement.figures
    assert (figures["pairs"], figures["left_out"]) == (FIRST - 1, 1)
    (entered,) = judged.place.entries("learn.model_evaluated")
    assert isinstance(entered.event, learn.ModelEvaluated)
    assert entered.event.pairs == FIRST - 1


def test_what_is_better_stands_on_the_log_and_then_in_the_registry(promoted: Judged) -> None:
    place, candidate, found, _ = promoted
    event = place.settle(candidate, found)
    (said,) = place.entries("learn.model_promoted")
    assert (said.id, json.loads(said.refs)) == (event, list(found.refs))
    with closing(open_log(place.url, mode="read")) as log:
        assert standing(log, "plane").model == candidate
        assert succession(log, "plane").ids == (candidate, BASE)
    assert find(place.registry, "plane").promoted


def test_settling_again_changes_nothing_and_a_canary_moves_no_pointer(promoted: Judged) -> None:
    place, candidate, found, _ = promoted
    first = place.settle(candidate, found, share=0.5)
    assert place.settle(candidate, found, share=0.5) == first
    assert len(place.entries("learn.model_promoted")) == 1
    assert not find(place.registry, candidate).promoted
    whole = place.settle(candidate, found)
    assert place.settle(candidate, found) == whole != first
    assert find(place.registry, candidate).promoted


def test_both_arms_begin_alike_and_no_pair_begins_as_another_session_of_the_log(promoted: Judged) -> None:
    place = promoted.place
    place.evaluate(learnt(place, LIKE), design=FEW)
    seeds = place.seeds("evaluation")
    assert len(seeds) == 2 * (FIRST + 3)
    assert len(set(seeds)) == FIRST + 3
    assert not set(seeds) & set(place.seeds(None))
    for ours, theirs in zip(place.orders[::2], place.orders[1::2], strict=True):
        assert (ours.seed, ours.cycles, ours.purpose) == (theirs.seed, FRAMES, "evaluation")
        assert (theirs.cycles, theirs.purpose, theirs.model) == (FRAMES, "evaluation", BASE)


def test_a_seed_that_the_log_knows_is_not_used_again(place: Place) -> None:
    candidate = learnt(place)
    trial = Trial(FILE, candidate=candidate, incumbent=BASE)
    with closing(open_log(place.url, mode="read")) as log:
        free = seeds_of(trial, range(3), log)
    gathered(place, [free[1]])
    place.evaluate(candidate, design=FEW)
    used = [order.seed for order in place.orders[::2]]
    assert (used[0], used[2]) == (free[0], free[2])
    assert used[1] != free[1]


@pytest.mark.parametrize("cut", [None, 9])
def test_an_evaluation_that_was_cut_off_goes_on_and_finds_the_same(
    place: Place, tmp_path: Path, cut: int | None
) -> None:
    """Between two sessions, and inside one."""
    candidate = learnt(place)
    expected = copied(place, tmp_path / "whole").evaluate(candidate, design=FEW)
    place.left, place.cut = 3, cut
    with pytest.raises(KeyboardInterrupt):
        place.evaluate(candidate, design=FEW)
    assert place.entries("learn.model_evaluated") == []
    place.left = None
    assert place.evaluate(candidate, design=FEW).judgement == expected.judgement
    ran = len(place.orders)
    assert ran == 2 * 3 + (cut is not None)  # the one that was cut off is ordered again
    place.evaluate(candidate, design=FEW)
    assert len(place.orders) == ran
    assert len(place.entries("learn.model_evaluated")) == 2


def test_a_model_that_is_no_better_than_its_like_is_rejected_after_the_last_look(place: Place) -> None:
    incumbent, candidate = learnt(place), learnt(place, LIKE)
    trial = Trial(FILE, candidate=candidate, incumbent=incumbent)
    early = place.evaluate(candidate, incumbent, design=FEW, most=2)
    assert early.judgement.decision == "go_on"
    assert settle(trial, early, url=place.url, registry=place.registry) is None
    found = place.evaluate(candidate, incumbent, design=FEW)
    assert [look.pairs for look in found.looks] == [2, 3]
    assert found.judgement.decision == "reject"
    figures = found.judgement.figures
    assert figures["error_over_copy"] == pytest.approx(figures["error_over_copy_before"])
    event = settle(trial, found, url=place.url, registry=place.registry)
    with closing(open_log(place.url, mode="read")) as log:
        (rejected,) = log.read("model/plane-two", types=("learn.model_rejected",))
    assert (rejected.id, json.loads(rejected.refs)) == (event, list(found.refs))
    assert not find(place.registry, candidate).promoted


def test_a_candidate_that_foresees_worse_is_rejected_before_any_session_runs(place: Place) -> None:
    incumbent = learnt(place)
    hasty = hastily_learnt(place)
    found = place.evaluate(hasty, incumbent)
    assert (found.looks, found.judgement.decision, place.orders) == ((), "reject", [])
    assert found.judgement.why.endswith("worse by more than 5%")
    event = settle(Trial(FILE, candidate=hasty, incumbent=incumbent), found, url=place.url, registry=place.registry)
    with closing(open_log(place.url, mode="read")) as log:
        assert [r.id for r in log.read("model/hasty", types=("learn.model_rejected",))] == [event]


def test_too_many_failed_pairs_decide_nothing_and_say_of_what(place: Place) -> None:
    candidate = learnt(place)
    with failing(at=20, times=1), pytest.raises(Unavailable, match=r"1 of 2 pairs have no outcome.*no more frames"):
        place.evaluate(candidate, design=FEW)
    assert place.entries("learn.model_evaluated") == []


def test_a_session_that_acted_by_something_else_is_not_counted(place: Place) -> None:
    candidate = learnt(place)
    trial = Trial(FILE, candidate=candidate, incumbent=BASE)
    with closing(open_log(place.url)) as log:
        local = Local(log)
        local.run(trial.session(0, "candidate"), LINE, seed=1, purpose="evaluation")
        local.close()
    with pytest.raises(VerificationFailed, match=f"was to be an evaluation of {candidate}"):
        place.evaluate(candidate)


def test_a_look_in_between_is_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="after 20, 24 pairs, not after 17"):
        place.evaluate(learnt(place), most=17)


def test_a_model_is_not_judged_against_itself(place: Place) -> None:
    with pytest.raises(UsageError, match="is what stands already"):
        Trial(FILE, candidate="plane@0123456789ab", incumbent="plane@0123456789ab")


def test_a_scenario_whose_episodes_never_end_needs_a_budget() -> None:
    endless = LINE.replace(f"max_frames = {FRAMES}, ", "")
    file = parse_scenario(endless, source="endless.toml")
    trial = Trial(file, candidate="plane@0123456789ab", incumbent=BASE, source="endless.toml")
    with pytest.raises(UsageError, match=r"endless.toml does not say when an episode has failed"):
        trial.budget()
    limited = parse_scenario(endless.replace("[learning]", "[learning]\nbudget = 9"), source="limited.toml")
    assert Trial(limited, candidate="plane@0123456789ab", incumbent=BASE).budget() == 9

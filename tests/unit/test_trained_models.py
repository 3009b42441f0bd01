"""A trained model in sessions: what it believes, counts and foresees, and which model a session goes on with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loops.context import Context
from loops.errors import Behind, ScenarioInvalid
from loops.feel import Feel
from loops.history import recent
from loops.models import Models, Trained
from loops.reasoners.active_inference import ActiveInference
from loops.scene import PINNED, Scene
from runtime.errors import NotFound, Unavailable, UsageError, VerificationFailed
from runtime.fork import fork
from runtime.hosting.placement import Placement
from runtime.models.using import Reader, choose, read
from runtime.scenario import ScenarioFile
from runtime.sessions import opened
from telemetry.events import Recorded, learn, reason, sense
from telemetry.events.values import Array, Move, digest_of
from telemetry.log import EventLog
from tests.local import Cut, Cutter, Local, folded, story
from tests.planned import QUICK, moments, plans
from tests.reruns import one, wall, whole
from tests.trained import line, trained
from world_model.surprise import surprise


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of models: of one observation, of the last three, another one, and one without landmarks."""
    home = tmp_path_factory.mktemp("models")
    folders = {name: home / name for name in ("one", "three", "other", "bare")}
    trained(folders["one"])
    trained(folders["three"], history=3)
    trained(folders["other"], seed=1)
    trained(folders["bare"], landmarks=False)
    return folders


@pytest.fixture
def model(made: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of a model that a test may change."""
    return Path(shutil.copytree(made["one"], tmp_path / "model"))


def models_of(folder: Path) -> Models:
    return Models("trained", named=True, read=Reader(named=f"{folder}/"))


# --- what it believes and foresees ------------------------------------------------------------------


def test_transitions_are_counted_under_frozen_weights_and_the_spread_is_the_models(
    local: Local, made: dict[str, Path]
) -> None:
    local.run("s", line(made["one"]), cycles=12)
    artifact = read(choose(f"{made['one']}/", registry=None))
    updates = [r.event for r in local.events("s", "learn.belief_updated")]
    assert len(updates) > 5
    for n, updated in enumerate(updates):
        assert isinstance(updated, learn.BeliefUpdated)
        assert (updated.model, updated.posterior.spread) == (artifact.model_id, artifact.model.spread)
        assert (updated.prior.transitions, updated.posterior.transitions) == (n, n + 1)


def test_a_surprise_is_the_log_likelihood_under_the_variance_that_the_model_predicted(
    local: Local, made: dict[str, Path]
) -> None:
    local.run("s", line(made["one"]), cycles=12)
    predicted: reason.Predicted | None = None
    seen: list[np.ndarray] = []
    checked = 0
    for recorded in local.events("s"):
        match recorded.event:
            case sense.Observed() as observed:
                assert observed.goal is not None
                at = observed.goal.achieved.numpy()
                seen.append(np.concatenate([at, at]))
            case reason.Predicted() as expected:
                predicted = expected
            case sense.Surprised() as found:
                assert predicted is not None
                off = surprise(predicted.mean.numpy(), predicted.variance.numpy(), seen[-1])
                assert (found.nats, found.error, found.model) == (off.nats, off.error, predicted.model)
                checked += 1
    assert checked > 5


def test_a_belief_is_the_encoding_of_the_last_observations_of_the_episode(local: Local, made: dict[str, Path]) -> None:
    local.run("s", line(made["three"], frames=5), cycles=20)
    artifact = read(choose(f"{made['three']}/", registry=None))
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    planned: list[str] = []
    for recorded in local.events("s"):
        match recorded.event:
            case sense.Observed(step=step, goal=goal):
                assert goal is not None
                at = goal.achieved.numpy()
                rows = [*(rows if step else []), (np.concatenate([at, at]), np.zeros(2))]
            case reason.Planned(belief=belief):
                seen_KD, done_KA = (np.stack(column) for column in zip(*rows[-3:], strict=True))
                planned.append(digest_of(Array.of(artifact.model.believe(seen_KD, done_KA))))
                assert planned[-1] == belief, recorded.id
            case reason.Decided(action=Move(to=Array() as to)):
                rows[-1] = (rows[-1][0], to.numpy())
    assert len(set(planned)) > 10


def test_a_process_without_the_last_observations_is_behind_until_they_are_recalled_from_the_log(
    local: Local, made: dict[str, Path]
) -> None:
    local.run("s", line(made["three"], frames=9), cycles=7)
    here = moments(local, "s")[-1]
    assert here.scene.observed is not None
    assert here.scene.observed.step > 3
    models = models_of(made["three"])
    with pytest.raises(Behind) as behind:
        models.of(here)
    assert behind.value.replica == "belief"
    past = recent(local.log, "session/s", count=models.history(here) - 1)
    assert [t.after.step for t in past] == [here.scene.observed.step - 1, here.scene.observed.step]
    models.recall(here, past)
    assert digest_of(Array.of(models.of(here).belief_Z)) == plans(local, "s")[-1].belief
    models.forget("session/s")
    with pytest.raises(Behind):
        models.of(here)


def test_the_latest_transitions_are_those_of_the_running_episode_only(local: Local, made: dict[str, Path]) -> None:
    local.run("s", line(made["one"], frames=4), cycles=12)
    past = recent(local.log, "session/s", count=9)
    last = local.events("s", "sense.observed")[-1].event
    assert isinstance(last, sense.Observed)
    assert [t.after.step for t in past] == list(range(1, last.step + 1))
    assert {t.before.episode for t in past} | {t.after.episode for t in past} <= {last.episode}


@pytest.mark.parametrize("which", ["one", "three"])
def test_a_session_with_a_trained_model_cut_off_anywhere_plans_and_decides_the_same(
    local: Local, made: dict[str, Path], which: str
) -> None:
    text = line(made[which])
    commits, calls = Cutter(), Cutter()
    expected = local.run("whole", text, cycles=6, commits=commits, calls=calls)
    told = story(local.events("whole"))
    for kind, many in (("commits", commits.seen), ("calls", calls.seen)):
        for moment in range(2, many + 1, 4):
            name = f"{kind}-{moment}"
            cutters = {kind: Cutter(at=moment)}
            with pytest.raises(Cut):
                local.run(name, text, cycles=6, commits=cutters.get("commits"), calls=cutters.get("calls"))
            assert local.run(name, text, cycles=6).state_hash == expected.state_hash, name
            assert story(local.events(name)) == told, name


def test_plans_made_ahead_together_by_one_model_are_those_made_alone(local: Local, made: dict[str, Path]) -> None:
    for n in range(3):
        local.run(f"s{n}", line(made["one"]), seed=n, cycles=6)
    contexts = [moments(local, f"s{n}")[1 + n] for n in range(3)]
    reasoner = ActiveInference(models_of(made["one"]), QUICK)
    reasoner.ahead(contexts)
    for n, context in enumerate(contexts):
        planned, *proposed = reasoner.propose(context, lambda _: None)
        recorded = plans(local, f"s{n}")[1 + n]
        assert isinstance(planned, reason.Planned)
        assert planned.belief == recorded.belief
        assert [w.energy for w in planned.options] == pytest.approx([w.energy for w in recorded.options], rel=1e-4)
        assert len(proposed) == len(recorded.options)


def test_a_rule_on_what_is_forecast_asks_the_trained_model(local: Local, made: dict[str, Path]) -> None:
    text = line(made["one"], reasoner="explore", heart=wall(at=0.0))
    local.run("s", text, cycles=40)
    models = models_of(made["one"])
    refused = 0
    scene, before = Scene(), list[Recorded]()
    for recorded in local.events("s"):
        scene = scene.see(recorded.id, recorded.event)
        before.append(recorded)
        if recorded.type == "reason.decided":
            context = Context("session/s", folded(before), scene)
            outlook = models.of(context)
            assert isinstance(outlook, Trained)
            for proposed, judged in zip(scene.proposals, scene.appraisals, strict=True):
                control = context.spaces.action.vector(proposed.action)
                expected = outlook.predict(control[np.newaxis]).mean[0]
                assert (judged.verdict == "refuse") == (expected[0] >= 0.0)
                refused += judged.verdict == "refuse"
    assert refused > 0


def test_a_linear_model_can_plan_on_the_landmarks_of_a_trained_one(local: Local, made: dict[str, Path]) -> None:
    local.run("s", line(made["one"], kind="linear"), cycles=6)
    assert {planned.model for planned in plans(local, "s")} == {"linear-rls@1"}
    assert PINNED in opened(local.log, "session/s").versions
    local.run("t", line(made["one"], kind="linear").replace(f'model = "{made["one"]}/"', ""), cycles=6)
    straight, mapped = (plans(local, name)[-1].options[0].pragmatic for name in ("t", "s"))
    assert straight != mapped


@pytest.mark.parametrize("environment", ["gymnasium:MiniGrid-LavaGapS5-v0", "null:"])
def test_a_discrete_world_without_a_goal_is_planned_in_by_its_trained_model(
    local: Local, tmp_path: Path, environment: str
) -> None:
    model = trained(tmp_path / "model", environment)
    local.run("s", line(tmp_path / "model", environment=environment), cycles=10)
    for planned in plans(local, "s"):
        assert (planned.model, planned.goal) == (model, None)
        assert 1 < len(planned.options) <= 8
    assert len(local.events("s", "reason.predicted")) == len(local.events("s", "execute.succeeded"))


# --- which model a session goes on with ---------------------------------------------------------------


def test_the_model_is_pinned_by_the_first_event_and_another_one_is_refused_on_resume(
    local: Local, made: dict[str, Path], model: Path
) -> None:
    text = line(model)
    expected = local.run("whole", text, cycles=8)
    began = opened(local.log, "session/whole").versions[PINNED]
    local.run("s", text, cycles=8, stop=iter([False] * 4 + [True]).__next__)
    before = local.log.head("session/s")
    aside = model.rename(model.with_name("aside"))
    shutil.copytree(made["other"], model)
    with pytest.raises(Unavailable, match=f"acts by the model {began}, and the scenario leads to tiny@"):
        local.run("s", text, cycles=8)
    (model / "model.safetensors").write_bytes(b"no model")
    with pytest.raises(Unavailable, match=r"cannot be read: .*session resume s"):
        local.run("s", text, cycles=8)
    shutil.rmtree(model)
    with pytest.raises(Unavailable, match=r"no model's folder at .*session resume s"):
        local.run("s", text, cycles=8)
    assert local.log.head("session/s") == before, "something was written"
    aside.rename(model)
    assert local.run("s", text, cycles=8).state_hash == expected.state_hash


def test_a_fork_goes_on_with_the_model_that_its_parent_began_with(local: Local, made: dict[str, Path]) -> None:
    text = line(made["three"], frames=9)
    expected = local.run("p", text, cycles=9)
    fork(local.log, "p", at=local.events("p", "session.cycle_closed")[4].version, new="f")
    assert local.run("f", text, cycles=9).state_hash == expected.state_hash
    assert plans(local, "f")[-1] == plans(local, "p")[-1]
    fork(local.log, "p", at=local.events("p", "session.cycle_closed")[4].version, new="g")
    with pytest.raises(Unavailable, match="acts by the model tiny@"):
        local.run("g", text.replace(str(made["three"]), str(made["other"])), cycles=9)


def test_a_model_that_is_lost_while_its_session_runs_leaves_the_session_at_its_last_commit(
    local: Local, model: Path
) -> None:
    """As where a phase actor is started anew and reads the model again."""
    text = line(model)
    expected = local.run("whole", text, cycles=6)
    turns = iter(range(100))

    def lose() -> bool:
        if next(turns) == 3:
            shutil.rmtree(model)
            model.mkdir()
        return False

    forgetful = Forgetful(local.log)
    with pytest.raises(NotFound, match="there is no model in"):
        forgetful.run("s", text, cycles=6, stop=lose)
    forgetful.close()
    assert "session.closed" not in local.types("s")
    assert local.types("s").count("session.cycle_closed") == 3
    model.rmdir()
    trained(model)
    assert local.run("s", text, cycles=6).state_hash == expected.state_hash


class ForgetfulPlacement(Placement):
    """Reads the model anew for every cycle, as a process that was started again would."""

    async def run(self, method: Any, context: Context, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if method is Feel.request:
            vars(self.local.models)["_artifacts"].clear()
        return await super().run(method, context, *args, **kwargs)


class Forgetful(Local):
    def _placement(self, file: ScenarioFile, log: EventLog, calls: Cutter | None) -> Placement:
        return ForgetfulPlacement(file.scenario, file.text, log, self._threads)


def test_a_model_that_is_altered_or_missing_opens_no_session(local: Local, model: Path) -> None:
    (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-1] + b"\x01")
    with pytest.raises(VerificationFailed, match="was altered"):
        local.run("s", line(model), cycles=3)
    with pytest.raises(NotFound, match="there is no model's folder at"):
        local.run("s", line(model.with_name("nowhere")), cycles=3)
    with pytest.raises(NotFound, match="no place is named where the model 'maze' could lie"):
        local.run("s", line(model).replace(f"{model}/", "maze"), cycles=3)
    assert local.types("s") == []


def test_a_world_with_other_spaces_than_the_models_is_refused_with_both_shapes(
    local: Local, made: dict[str, Path]
) -> None:
    text = line(made["one"], environment="gymnasium:AetherBad-v0", reasoner="explore")
    with pytest.raises(ScenarioInvalid) as refused:
        local.run("s", text, cycles=3)
    assert "goal of 2; box controls of 2, and gymnasium:AetherBad-v0 has" in str(refused.value)
    assert "observation (2,); goal of 0; discrete controls of 2" in str(refused.value)
    assert local.types("s") == []


def test_planning_with_a_model_without_landmarks_is_refused(local: Local, made: dict[str, Path]) -> None:
    with pytest.raises(ScenarioInvalid, match="kept without landmarks"):
        local.run("s", line(made["bare"]), cycles=3)
    assert local.run("s", line(made["bare"], reasoner="explore"), cycles=3).cycles == 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('kind = "trained"', "needs model, the name of one"),
        ('kind = "none"\nmodel = "maze"', "the model 'maze' would not be used"),
    ],
)
def test_a_kind_without_its_model_and_a_model_without_its_kind_are_refused(
    local: Local, settings: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        local.run("s", f'name = "x"\nenvironment = {{ id = "null:" }}\n[world_model]\n{settings}\n', cycles=1)


# --- reruns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["one", "three"])
def test_a_session_with_a_trained_model_is_covered_whole_by_its_own_policy(
    local: Local, made: dict[str, Path], which: str
) -> None:
    local.run("s", line(made[which]), cycles=18)
    row = one(local.log)
    assert whole(row)
    assert row.surprise is not None
    assert row.surprise.recorded_nats == row.surprise.policy_nats


def test_a_trained_model_can_stand_in_for_the_one_of_the_record(local: Local, made: dict[str, Path]) -> None:
    local.run("s", line(made["one"], kind="linear", reasoner="explore"), cycles=18)
    row = one(local.log, world_model=str(made["three"]))
    assert (row.covered, row.surprise is not None) == (row.cycles, True)
    assert row.surprise is not None
    assert row.surprise.policy_nats != row.surprise.recorded_nats
    with pytest.raises(UsageError, match="in one word it can be: linear, none, and no place is named"):
        one(local.log, world_model="maze")


def test_a_rerun_by_its_own_policy_with_another_model_in_its_place_is_refused(
    local: Local, made: dict[str, Path], model: Path
) -> None:
    local.run("s", line(model), cycles=6)
    shutil.rmtree(model)
    shutil.copytree(made["other"], model)
    with pytest.raises(UsageError, match="it went by the model tiny@"):
        one(local.log)

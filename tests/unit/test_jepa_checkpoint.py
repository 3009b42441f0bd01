"""A model that is saved, loaded, altered, and brought to another environment."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import numpy as safetensors

from tests.jepa_worlds import CONFIG, spring
from world_model.checkpoint import ARRAYS, load, save
from world_model.checkpoint import CONFIG as CONFIG_FILE
from world_model.errors import AlteredCheckpoint, CheckpointError, NoCheckpoint, OtherLayout
from world_model.jepa.fit import fit
from world_model.jepa.model import Jepa
from world_model.layout import Controls
from world_model.plan.landmarks import Landmarks

EXPERIENCE = spring(rows=400)


@pytest.fixture(scope="module")
def model() -> Jepa:
    return fit(EXPERIENCE, CONFIG, steps=20, seed=0).model


def landmarks_of(model: Jepa) -> Landmarks:
    return Landmarks.of(model.outcomes(EXPERIENCE), EXPERIENCE, count=20, seed=0)


def test_what_is_loaded_is_what_was_saved_to_the_bit(model: Jepa, tmp_path: Path) -> None:
    landmarks = landmarks_of(model)
    saved = save(tmp_path / "m", model, landmarks=landmarks, metrics={"held_out": 0.25}, name="spring")
    before = torch.get_rng_state()
    artifact = load(tmp_path / "m", layout=EXPERIENCE.layout)
    assert torch.equal(before, torch.get_rng_state())
    assert artifact.model_id == saved == artifact.model.model_id
    assert artifact.metrics == {"held_out": 0.25}
    assert artifact.landmarks is not None
    assert np.array_equal(artifact.landmarks.nodes_LG, landmarks.nodes_LG)
    belief = model.believe(EXPERIENCE.seen_ND[:1], EXPERIENCE.done_NA[:1])
    assert np.array_equal(artifact.model.believe(EXPERIENCE.seen_ND[:1], EXPERIENCE.done_NA[:1]), belief)
    controls = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    one, two = model.predict(belief, controls), artifact.model.predict(belief, controls)
    assert np.array_equal(one.mean, two.mean)
    assert np.array_equal(one.variance, two.variance)


def test_without_landmarks_the_id_is_the_models_own_and_metrics_do_not_change_it(model: Jepa, tmp_path: Path) -> None:
    assert save(tmp_path / "a", model, landmarks=None, metrics={}) == model.model_id
    assert save(tmp_path / "b", model, landmarks=None, metrics={"elapsed_s": 9.0}) == model.model_id
    assert save(tmp_path / "c", model, landmarks=landmarks_of(model), metrics={}) != model.model_id
    assert load(tmp_path / "a").landmarks is None


def test_the_same_model_again_is_left_and_another_is_not_written_over(model: Jepa, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    first = save(folder, model, landmarks=None, metrics={})
    assert save(folder, model, landmarks=None, metrics={}) == first
    with pytest.raises(CheckpointError, match="holds another model; it is intact"):
        save(folder, model, landmarks=landmarks_of(model), metrics={})
    assert load(folder).model_id == first
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_changed_weight_is_refused(model: Jepa, tmp_path: Path) -> None:
    save(tmp_path / "m", model, landmarks=None, metrics={})
    arrays = safetensors.load_file(tmp_path / "m" / ARRAYS)
    arrays["predictor.first.weight"][0, 0, 0] += 1e-3
    safetensors.save_file(arrays, tmp_path / "m" / ARRAYS)
    with pytest.raises(AlteredCheckpoint, match=r"was altered: its content hashes to [0-9a-f]{12}…"):
        load(tmp_path / "m")


def test_a_changed_landmark_is_refused(model: Jepa, tmp_path: Path) -> None:
    save(tmp_path / "m", model, landmarks=landmarks_of(model), metrics={})
    arrays = safetensors.load_file(tmp_path / "m" / ARRAYS)
    arrays["landmarks.nodes"][0] += 1
    safetensors.save_file(arrays, tmp_path / "m" / ARRAYS)
    with pytest.raises(AlteredCheckpoint, match="was altered"):
        load(tmp_path / "m")


def test_another_shape_is_refused_with_both(model: Jepa, tmp_path: Path) -> None:
    save(tmp_path / "m", model, landmarks=None, metrics={})
    path = tmp_path / "m" / CONFIG_FILE
    described = json.loads(path.read_bytes())
    described["anatomy"]["config"]["latent"] = 5
    path.write_text(json.dumps(described))
    with pytest.raises(AlteredCheckpoint, match=r"has shape \(4,\), its configuration asks for \(5,\)"):
        load(tmp_path / "m")


@pytest.mark.parametrize("name", [CONFIG_FILE, ARRAYS])
def test_a_file_that_is_cut_short_is_refused(name: str, model: Jepa, tmp_path: Path) -> None:
    save(tmp_path / "m", model, landmarks=None, metrics={})
    path = tmp_path / "m" / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(AlteredCheckpoint):
        load(tmp_path / "m")


def test_another_environments_spaces_are_refused_with_both_shapes(model: Jepa, tmp_path: Path) -> None:
    save(tmp_path / "m", model, landmarks=None, metrics={})
    other = EXPERIENCE.layout.model_copy(update={"controls": Controls(kind="discrete", width=3)})
    with pytest.raises(OtherLayout, match=r"box controls of 1; this environment has .* discrete controls of 3"):
        load(tmp_path / "m", layout=other)


def test_where_nothing_is_saved_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoCheckpoint, match="there is no model in"):
        load(tmp_path / "nothing")

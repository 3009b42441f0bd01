"""A trained model on disk: `config.json` says what it is, `model.safetensors` holds its arrays and its landmarks', and
`metrics.json` what was measured of it.

Loading runs no code from the folder. Invariant: a folder holds one whole model or none, and what is loaded is, to the
bit, what was saved. Metrics are beside the model, not of it: the hash leaves them out, so that equal trainings give
equal ids however long they took."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from telemetry.events.values import Digest, ModelId, Value
from telemetry.files import sync, write_file
from world_model.errors import AlteredCheckpoint, CheckpointError, NoCheckpoint, OtherLayout, ShapeError
from world_model.frozen import FrozenLinear, LinearAnatomy
from world_model.jepa.model import Anatomy, Jepa, content_hash
from world_model.jepa.network import Network
from world_model.jepa.senses import fits
from world_model.layout import Layout
from world_model.plan.landmarks import Landmarks

CONFIG: Final = "config.json"
ARRAYS: Final = "model.safetensors"
METRICS: Final = "metrics.json"
LANDMARKS: Final = "landmarks."
"""What the names of the landmarks' arrays begin with."""

Arrays = Mapping[str, NDArray[np.generic]]


class Artifact(NamedTuple):
    model: Jepa | FrozenLinear
    landmarks: Landmarks | None
    metrics: dict[str, JsonValue]
    model_id: ModelId


class Described(Value):
    """What `config.json` says."""

    format: Literal[1] = 1
    name: str
    hash: Digest
    anatomy: Anatomy | LinearAnatomy


def save(
    folder: Path,
    model: Jepa | FrozenLinear,
    *,
    landmarks: Landmarks | None,
    metrics: Mapping[str, JsonValue],
    name: str | None = None,
) -> ModelId:
    """Writes the model into `folder`, which is new, empty, or holds the same model; its id is `name@` and 12 digits of
    the hash over anatomy and arrays, the landmarks' too. `name` is the model's own where none is given.

    Written aside, flushed to the disk and then renamed, so that a crash leaves all or nothing. Raises CheckpointError
    when the folder holds something else."""
    arrays = {**model.arrays(), **_of_landmarks(landmarks)}
    digest = content_hash(model.anatomy, arrays)
    described = Described(name=name or model.model_id.partition("@")[0], hash=digest, anatomy=model.anatomy)
    aside = folder.with_name(f".{folder.name}.new-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        write_file(aside / CONFIG, json.dumps(described.model_dump(mode="json"), indent=1, sort_keys=True).encode())
        write_file(
            aside / ARRAYS, safetensors.save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
        )
        write_file(aside / METRICS, json.dumps(dict(metrics), indent=1, sort_keys=True, allow_nan=False).encode())
        sync(aside)
        _put(aside, folder, digest)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return f"{described.name}@{digest[:12]}"


def load(folder: Path, *, layout: Layout | None = None) -> Artifact:
    """What `save` wrote. Raises NoCheckpoint; AlteredCheckpoint when shapes or the hash are not those that were saved;
    OtherLayout when `layout` is given and is not the model's."""
    described = _described(folder)
    arrays = _arrays(folder)
    own = {key: value for key, value in arrays.items() if not key.startswith(LANDMARKS)}
    anatomy = described.anatomy
    network = _network(folder, anatomy, own) if isinstance(anatomy, Anatomy) else None
    digest = content_hash(described.anatomy, arrays)
    if digest != described.hash:
        raise AlteredCheckpoint(
            f"the model in {folder} was altered: its content hashes to {digest[:12]}…, {described.hash[:12]}… was "
            f"saved. Nothing of it is used. Train it again or restore the folder"
        )
    found = described.anatomy.layout
    if layout is not None and layout != found:
        raise OtherLayout(
            f"the model in {folder} is of {found.describe()}; this environment has {layout.describe()}. The model is "
            f"intact. Use it where it was trained, or train one here"
        )
    if network is None or isinstance(anatomy, LinearAnatomy):
        model: Jepa | FrozenLinear = _linear(folder, anatomy.layout, own, name=described.name, digest=digest)
    else:
        model = Jepa(anatomy, network, name=described.name, digest=digest)
    mapped = {key.removeprefix(LANDMARKS): value for key, value in arrays.items() if key.startswith(LANDMARKS)}
    landmarks = Landmarks.from_arrays(mapped) if mapped else None
    return Artifact(model, landmarks, _metrics(folder), model.model_id)


def _of_landmarks(landmarks: Landmarks | None) -> dict[str, NDArray[np.generic]]:
    return {} if landmarks is None else {LANDMARKS + key: value for key, value in landmarks.arrays().items()}


def _described(folder: Path) -> Described:
    try:
        return Described.model_validate_json((folder / CONFIG).read_bytes())
    except FileNotFoundError as error:
        raise NoCheckpoint(f"there is no model in {folder}: {CONFIG} is missing") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise AlteredCheckpoint(
            f"{folder / CONFIG} is not what this version writes: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error


def _arrays(folder: Path) -> dict[str, NDArray[np.generic]]:
    try:
        return dict(safetensors.load((folder / ARRAYS).read_bytes()))
    except FileNotFoundError as error:
        raise NoCheckpoint(f"there is no model in {folder}: {ARRAYS} is missing") from error
    except SafetensorError as error:
        raise AlteredCheckpoint(f"{folder / ARRAYS} cannot be read: {error}. Nothing of it is used") from error


def _metrics(folder: Path) -> dict[str, JsonValue]:
    try:
        found: JsonValue = json.loads((folder / METRICS).read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise AlteredCheckpoint(f"{folder / METRICS} is missing or no JSON: {error}") from error
    if not isinstance(found, dict):
        raise AlteredCheckpoint(f"{folder / METRICS} holds no object")
    return found


def _network(folder: Path, anatomy: Anatomy, arrays: Arrays) -> Network:
    """Its arrays are the given ones; no weight is drawn and no generator touched."""
    if not fits(anatomy.senses, anatomy.layout):
        raise AlteredCheckpoint(f"{folder / CONFIG} reads other columns than its layout has")
    with torch.device("meta"):
        network = Network(anatomy.layout, anatomy.senses, anatomy.config)
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: value.shape if value.dtype == np.float32 else (str(value.dtype),) for key, value in arrays.items()}
    for key in sorted(expected | found):
        if expected.get(key) != found.get(key):
            raise AlteredCheckpoint(
                f"the model in {folder} was altered: {key} has shape {found.get(key)}, its configuration asks for "
                f"{expected.get(key)}. Nothing of it is used. Train it again or restore the folder"
            )
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, assign=True)
    return network


def _linear(folder: Path, layout: Layout, arrays: Arrays, *, name: str, digest: str) -> FrozenLinear:
    try:
        return FrozenLinear.from_arrays(layout, arrays, name=name, digest=digest)
    except ShapeError as error:
        raise AlteredCheckpoint(f"the model in {folder} was altered: {error}. Nothing of it is used") from error


def _put(aside: Path, folder: Path, digest: str) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        there = _described(folder).hash if (folder / CONFIG).exists() else None
        if there != digest:
            raise CheckpointError(
                f"{folder} holds {'another model' if there else 'something else'}; it is intact and nothing was saved. "
                f"Save to a folder of its own"
            )
        return
    aside.rename(folder)
    sync(folder.parent)

"""Gymnasium's registry: finds an environment by its id and builds it, headless and unchecked.

Knows which packages register ids when they are imported; knows nothing of spaces or steps. Its own
checker stays off, because it warns where a session has to stop; `loops.environments.reading` checks."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from pydantic import JsonValue

from loops.errors import EnvironmentFailed, EnvironmentNotFound, ScenarioInvalid

PREFIX = "gymnasium:"
PLUGINS = {"minigrid": ("MiniGrid-", "BabyAI-"), "gymnasium_robotics": ("",)}
"""Packages that register ids when imported, with how these ids begin."""
NEAREST = 3
RESERVED = {
    "id": "the id stands in `id`",
    "max_episode_steps": "use max_frames",
    "disable_env_checker": "the runtime checks every step itself",
    "render_mode": "environments run headless",
}
"""Arguments of `gymnasium.make` that are not the environment's own, and what to do instead."""

GymEnv = gymnasium.Env[object, object]


def find(name: str) -> EnvSpec:
    """The registered `Id-v0`, or `module:Id-v0` after importing `module`.

    Raises `EnvironmentNotFound` with the nearest ids, and `EnvironmentFailed` when `module` raises."""
    module, _, env_id = name.rpartition(":")
    if module:
        _import(module, name)
    if env_id not in gymnasium.registry:
        _load_plugins(env_id)
    if env_id not in gymnasium.registry:
        nearest = tuple(PREFIX + near for near in _nearest(env_id))
        hint = f"nearest: {', '.join(nearest)}" if nearest else "no registered id is near it"
        raise EnvironmentNotFound(f'no environment "{PREFIX}{name}"; {hint}', nearest)
    return gymnasium.registry[env_id]


def build(spec: EnvSpec, *, max_frames: int | None, options: Mapping[str, JsonValue]) -> GymEnv:
    """Builds `spec`; `max_frames` replaces its registered limit. A task that could go on after success ends
    there unless `options` say otherwise.

    Raises `ScenarioInvalid` when `options` do not fit its constructor, `EnvironmentFailed` when it raises."""
    for option in sorted(RESERVED.keys() & options.keys()):
        raise ScenarioInvalid(f'"{option}" is no option of an environment: {RESERVED[option]}')
    arguments = dict(options)
    try:
        if "continuing_task" in _parameters(spec) and "continuing_task" not in spec.kwargs:
            arguments.setdefault("continuing_task", False)
        env: GymEnv = gymnasium.make(spec, max_episode_steps=max_frames, disable_env_checker=True, **arguments)
    except TypeError as error:
        raise ScenarioInvalid(f"options of {PREFIX}{spec.id} do not fit its constructor: {error}") from error
    except Exception as error:
        raise EnvironmentFailed(
            f"{PREFIX}{spec.id} could not be built: {type(error).__name__}: {error}", "raised"
        ) from error
    _drop_scratch(env)
    return env


def _import(module: str, name: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise EnvironmentNotFound(f'no environment "{PREFIX}{name}": {error}') from error
    except Exception as error:
        raise EnvironmentFailed(
            f'importing "{module}" for {PREFIX}{name} raised {type(error).__name__}: {error}', "raised"
        ) from error


def _load_plugins(env_id: str) -> None:
    """Imports packages until one registers `env_id`, the likeliest first; all of them for an unknown id."""
    for package in sorted(PLUGINS, key=lambda package: not env_id.startswith(PLUGINS[package])):
        if importlib.util.find_spec(package) is None:
            continue
        _keep_quiet(package)
        importlib.import_module(package)
        if env_id in gymnasium.registry:
            return


def _keep_quiet(package: str) -> None:
    """Takes back the notice that a Farama package prints on import, without touching the process's stderr."""
    if importlib.util.find_spec("farama_notifications") is not None:
        importlib.import_module("farama_notifications").notifications.pop(package, None)


def _nearest(env_id: str) -> list[str]:
    by_lower = {known.lower(): known for known in gymnasium.registry}
    return [by_lower[near] for near in difflib.get_close_matches(env_id.lower(), by_lower, n=NEAREST)]


def _parameters(spec: EnvSpec) -> Mapping[str, inspect.Parameter]:
    creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
    return inspect.signature(creator).parameters


def _drop_scratch(env: GymEnv) -> None:
    """Gymnasium-Robotics leaves the XML of a maze in the temporary folder, one at each build; once the model
    is compiled nothing reads it again."""
    scratch = getattr(env.unwrapped, "tmp_xml_file_path", None)
    if isinstance(scratch, str):
        Path(scratch).unlink(missing_ok=True)

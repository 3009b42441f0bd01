"""Worlds a session can act in. Each is a plain class that keeps the `Environment` port of `loops.ports`.

    __init__    what a scenario says of its environment, and the class that its prefix names
    gymnasium   any registered Gymnasium environment
    registered  finds and builds one by its id
    reading     checks what a Gymnasium space shows and turns it into our values
    null        counts steps; the loop's benchmark runs on it
    tools       a conversation with tools: no world that is moved in, so a `Toolbox` and not an `Environment`

Importing this module loads no simulator; `make_environment` loads the one it makes."""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loops.environments.tools.settings import ToolsSettings
from loops.errors import EnvironmentNotFound
from loops.ports import Environment

PREFIXES = ("gymnasium", "null", "tools")


class EnvironmentSettings(BaseModel):
    """The `[environment]` table of a scenario."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str
    """Prefix and name, such as `gymnasium:PointMaze_UMaze-v3`, `null:`, or `tools:` for a conversation with tools."""
    frames: int = Field(default=1, ge=1)
    """Simulator steps per action: the action is repeated, the rewards are summed."""
    max_frames: int | None = Field(default=None, ge=1)
    """An episode is truncated after so many simulator steps; None keeps the registered limit."""
    episodes: int = Field(default=1, ge=1)
    """Episodes a session runs before it is done."""
    success: Literal["info", "reward"] = "info"
    """`info`: what the environment itself reports; `reward`: it terminated with a positive reward."""
    quantum: float | None = Field(default=None, gt=0)
    """The step that continuous actions are rounded to before the simulator gets them, in its units; what rounds alike
    is one action, to a rerun too. None keeps every value apart."""
    options: dict[str, JsonValue] = {}
    """Arguments of the environment's constructor."""
    tools: ToolsSettings = ToolsSettings()
    """Where the tools of `tools:` come from."""

    @property
    def is_conversation(self) -> bool:
        return self.id.partition(":")[:2] == ("tools", ":")


def make_environment(settings: EnvironmentSettings) -> Environment:
    """The environment that `settings.id` names, built but not reset.

    Raises `EnvironmentNotFound` for an unknown name, `ScenarioInvalid` when its spaces or options do not fit,
    `EnvironmentFailed` when it raises while it is built."""
    prefix, colon, name = settings.id.partition(":")
    if colon and prefix == "gymnasium":
        from loops.environments.gymnasium import GymnasiumEnvironment

        return GymnasiumEnvironment(
            name,
            frames=settings.frames,
            max_frames=settings.max_frames,
            success=settings.success,
            quantum=settings.quantum,
            options=settings.options,
        )
    if colon and prefix == "null":
        from loops.environments.null import NullEnvironment

        return NullEnvironment(name, frames=settings.frames, max_frames=settings.max_frames, options=settings.options)
    raise _unknown_prefix(settings.id)


def longest_episode(settings: EnvironmentSettings) -> int | None:
    """Decisions after which an episode ends at the latest; None where nothing says so.

    Raises `EnvironmentNotFound` for an unknown name, `EnvironmentFailed` when the module that it names raises."""
    frames = settings.max_frames
    prefix, colon, name = settings.id.partition(":")
    if frames is None and colon and prefix == "gymnasium":
        from loops.environments.registered import find

        frames = find(name).max_episode_steps
    return None if frames is None else -(-frames // settings.frames)


def _unknown_prefix(given: str) -> EnvironmentNotFound:
    prefix, colon, name = given.partition(":")
    near = difflib.get_close_matches(prefix.lower(), PREFIXES, n=1)[:1] if colon else ["gymnasium"]
    nearest = tuple(f"{one}:{name if colon else given}" for one in near)
    known = ", ".join(f"{one}:" for one in PREFIXES)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return EnvironmentNotFound(
        f'no environment "{given}": its name begins with none of the known prefixes ({known}).{hint}', nearest
    )

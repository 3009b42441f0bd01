"""The values that stand inside events: arrays, observations, actions, appraisals, predictions.

Knows their shape and how they are told apart; knows nothing of where they come from.
Invariant: two equal values have one canonical JSON, so they have one digest."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from telemetry.errors import InvalidEvent

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in lower-case hexadecimal."""

EventId = Annotated[str, Field(pattern=r"^[^@\s]+@[1-9][0-9]*$")]
"""`stream@version`, for example `session/7f3a9c01d2e4@12`."""

ModelId = Annotated[str, Field(pattern=r"^[^@\s]+@[0-9a-zA-Z.\-]+$")]
"""`name@digest` of the weights used, or `name@version` of a model that has none."""

EffectClass = Literal["pure", "read", "keyed", "probeable", "replayable", "compensable", "unsafe"]
"""How an effect that may or may not have happened is settled; see `loops.effects`."""

Verdict = Literal["allow", "refuse", "ask"]


def _tag(value: str) -> Any:  # noqa: ANN401  it stands for whichever literal the field declares
    """A discriminator. Stored JSON leaves defaults out; a factory that takes the validated data is
    never 'the default' to pydantic, so the tag stays in and the value can be read back."""
    return Field(default_factory=lambda _: value)


class Value(BaseModel):
    """Base of everything stored: immutable, closed, free of NaN and infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def canonical(value: BaseModel) -> bytes:
    """Canonical JSON (UTF-8, sorted keys, defaults left out) of `value`. Raises `InvalidEvent` for what JSON here
    cannot hold: a lone surrogate, an integer beyond 64 bits."""
    try:
        return orjson.dumps(value.model_dump(mode="json", exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidEvent(f"{type(value).__name__} cannot be stored as JSON: {error}") from error


def canonical_json(value: JsonValue) -> str:
    """Canonical JSON of a plain value. Raises `InvalidEvent` as `canonical` does."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError as error:
        raise InvalidEvent(f"this result cannot be stored as JSON: {error}") from error


def digest_of(*values: BaseModel) -> Digest:
    """SHA-256 over the canonical JSON of `values`, each preceded by its length."""
    sha = hashlib.sha256()
    for value in values:
        body = canonical(value)
        sha.update(len(body).to_bytes(8, "big"))
        sha.update(body)
    return sha.hexdigest()


class Array(Value):
    """A dense array as `{dtype, shape, data}`; `data` is base64 of little-endian C-order bytes."""

    dtype: Literal["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]
    shape: tuple[Annotated[int, Field(ge=0)], ...] = ()
    data: str

    @classmethod
    def of(cls, values: NDArray[Any] | list[float] | float, *, dtype: str | None = None) -> Array:
        """Raises `InvalidEvent` for NaN, infinities and dtypes that are not in the list above."""
        array = np.asarray(values, dtype=dtype)
        name = array.dtype.name
        if name not in _DTYPES:
            raise InvalidEvent(f"arrays of dtype {name} cannot be stored; use one of {sorted(_DTYPES)}")
        if sys.byteorder == "big" or not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("<"))
        data = base64.b64encode(array.tobytes()).decode("ascii")
        try:
            return cls(dtype=name, shape=array.shape, data=data)  # type: ignore[arg-type]  # checked above
        except ValidationError as error:
            raise InvalidEvent(f"array of shape {array.shape} holds NaN or infinity; events refuse both") from error

    def numpy(self) -> NDArray[Any]:
        """A fresh writable array."""
        return self._flat().reshape(self.shape).astype(self.dtype)

    def _flat(self) -> NDArray[Any]:
        return np.frombuffer(base64.b64decode(self.data), dtype=np.dtype(self.dtype).newbyteorder("<"))

    @model_validator(mode="after")
    def _bytes_fit_shape(self) -> Array:
        padding = self.data.count("=", -2) if self.data else 0
        have = len(self.data) // 4 * 3 - padding
        need = math.prod(self.shape) * _DTYPES[self.dtype]
        if have != need:
            raise ValueError(f"{self.dtype} array of shape {self.shape} needs {need} bytes, data has {have}")
        if self.dtype.startswith("float") and not np.isfinite(self._flat()).all():
            raise ValueError(f"array of shape {self.shape} holds NaN or infinity; events refuse both")
        return self


_DTYPES = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


# --- what is perceived -------------------------------------------------------------------------


class ArrayObservation(Value):
    """One named array of what was seen, in the environment's own units."""

    kind: Literal["array"] = _tag("array")
    name: str
    array: Array


class Text(Value):
    """One named text of what was seen, such as a mission."""

    kind: Literal["text"] = _tag("text")
    name: str
    text: str


class TextPart(Value):
    kind: Literal["text"] = _tag("text")
    text: str


class FilePart(Value):
    """A file or picture by content digest; the bytes lie in the log's blob store."""

    kind: Literal["file"] = _tag("file")
    name: str
    media_type: str
    digest: Digest


Part = Annotated[TextPart | FilePart, Field(discriminator="kind")]


class Message(Value):
    """What somebody said. `id` is the sender's name for it, so that the same message sent again is heard once."""

    kind: Literal["message"] = _tag("message")
    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[Part, ...]
    id: str = ""

    @property
    def text(self) -> str:
        """Its text parts, one a line."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))


class ToolResult(Value):
    """What a tool answered to the call `call`; `error` is set when it raised."""

    kind: Literal["tool_result"] = _tag("tool_result")
    call: str
    tool: str
    content: JsonValue = None
    error: str | None = None


class Feedback(Value):
    """A person's judgement, rating in [-1, 1], about the event `about`."""

    kind: Literal["feedback"] = _tag("feedback")
    rating: float | None = Field(default=None, ge=-1, le=1)
    text: str = ""
    about: EventId | None = None


Observation = Annotated[ArrayObservation | Text | Message | ToolResult | Feedback, Field(discriminator="kind")]


class Goal(Value):
    """Where a goal-conditioned agent is and should be, in goal space; equal shapes."""

    achieved: Array
    desired: Array


# --- what is done ------------------------------------------------------------------------------


class Move(Value):
    """One control input: an array for continuous spaces, an index for discrete ones."""

    kind: Literal["move"] = _tag("move")
    to: Array | int


class ToolCall(Value):
    """One call as a model asked for it. `invalid` says why it cannot be made: it names no tool, or its arguments
    are no JSON object; it is answered then, not dispatched."""

    id: str
    tool: str
    arguments: dict[str, JsonValue] = {}
    invalid: str | None = None


class ToolCalls(Value):
    """One or more calls that may run in parallel."""

    kind: Literal["tool_calls"] = _tag("tool_calls")
    calls: tuple[ToolCall, ...] = Field(min_length=1)


class Say(Value):
    kind: Literal["say"] = _tag("say")
    text: str


class AskHuman(Value):
    kind: Literal["ask_human"] = _tag("ask_human")
    question: str


class Wait(Value):
    """Deliberately nothing, this cycle."""

    kind: Literal["wait"] = _tag("wait")


Action = Annotated[Move | ToolCalls | Say | AskHuman | Wait, Field(discriminator="kind")]


# --- what is judged, expected, kept ------------------------------------------------------------


class Ground(Value):
    """Why the heart judged as it did: the rule and its reason in words."""

    rule: str
    reason: str


class Appraisal(Value):
    """The heart's judgement of what was asked or of exactly one proposal (by digest of its arguments)."""

    of: Literal["request", "proposal"]
    verdict: Verdict
    proposal: int | None = None
    arguments: Digest | None = None
    grounds: tuple[Ground, ...] = ()


class Option(Value):
    """One proposal as the decision saw it; the lower `score`, the better."""

    proposal: int
    score: float | None = None
    verdict: Verdict


class Weighed(Value):
    """What a planner makes of one proposal, in nats; the lower `energy`, the better.

    `energy` is the expected free energy of the course of action that begins with it: `pragmatic`, what it costs to be
    off from what is preferred, less what the planner gives for `epistemic`, what would be learnt on the way."""

    proposal: int = Field(ge=0)
    energy: float
    pragmatic: float
    epistemic: float = Field(ge=0)
    probability: float = Field(ge=0, le=1)
    """Of being put first, among the options of this plan."""


class Hit(Value):
    """One remembered episode that a recall returned; `score` is a similarity in (0, 1], `text` the episode in words
    where it has any."""

    event: EventId
    score: float
    text: str = ""


class Episode(Value):
    """What is worth remembering of one cycle: what was seen, done, and what came of it."""

    observation: Digest
    action: Action | None = None
    reward: float | None = None
    nats: float | None = None
    why: Literal["surprise", "reward", "always"]
    text: str = ""
    """What was said and done in words, where it was words."""


class Belief(Value):
    """The world model's confidence in itself: transitions learnt from, and its residual spread.

    `spread` is the root mean predictive standard deviation over the dimensions, in observation units."""

    transitions: int = Field(ge=0)
    spread: float = Field(ge=0)


class Persistence(Value):
    """An action that a reasoner keeps for `remaining` more cycles."""

    action: Action
    remaining: int = Field(ge=0)


class Playbook(Value):
    """Prompts, strategies and tool priorities that shape a session's reasoning; a version of it is its digest."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    prompt: str = ""
    """Added to the system prompt."""
    strategies: tuple[str, ...] = ()
    """Ways to go about things, in words, best first."""
    tools: tuple[str, ...] = ()
    """Tools to prefer, best first."""

    @property
    def id(self) -> ModelId:
        """`name@` and the first 12 digits of the content's digest."""
        return f"{self.name}@{digest_of(self)[:12]}"


class Usage(Value):
    """What a cycle cost. Tokens are counts, `cost_usd` US dollars."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

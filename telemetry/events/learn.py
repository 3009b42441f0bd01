"""What was learnt of a cycle, a session, or many of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from telemetry.events.event import Event
from telemetry.events.values import Array, Belief, Digest, Episode, EventId, Feedback, ModelId, Playbook


class Rewarded(Event):
    """What the last action brought. Sums are recorded here so that reducers only copy."""

    type: Literal["learn.rewarded"] = "learn.rewarded"
    reward: float
    episode_return: float
    success: bool | None = None
    ends_episode: bool = False


class FeedbackReceived(Event):
    """A person judged something, or their next message did so without meaning to (`implicit`)."""

    type: Literal["learn.feedback_received"] = "learn.feedback_received"
    feedback: Feedback
    implicit: bool = False


class Remembered(Event):
    """An episode to be recalled by nearness of `vector`, float32, shape (D,), made by `embedder`."""

    type: Literal["learn.remembered"] = "learn.remembered"
    episode: Episode
    vector: Array
    embedder: ModelId


class Forgotten(Event):
    """An episode is not to be recalled any more."""

    type: Literal["learn.forgotten"] = "learn.forgotten"
    memory: EventId
    why: str


class BeliefUpdated(Event):
    """The world model learnt a transition."""

    type: Literal["learn.belief_updated"] = "learn.belief_updated"
    model: ModelId
    prior: Belief
    posterior: Belief


class StrategyAdjusted(Event):
    """A way of going about things was changed."""

    type: Literal["learn.strategy_adjusted"] = "learn.strategy_adjusted"
    strategy: str
    before: JsonValue = None
    after: JsonValue = None
    why: str


class PlaybookWritten(Event):
    """A version of a playbook was laid down, on the stream `model/<its name>`."""

    type: Literal["learn.playbook_written"] = "learn.playbook_written"
    playbook: Playbook
    previous: ModelId | None = None
    why: str = ""


class Corrected(Event):
    """A later attempt stands in for an earlier one."""

    type: Literal["learn.corrected"] = "learn.corrected"
    retry_of: EventId
    why: str


class SessionReviewed(Event):
    """A session's figures, from its log only."""

    type: Literal["learn.session_reviewed"] = "learn.session_reviewed"
    figures: dict[str, JsonValue]
    summary: str = ""


class DatasetBuilt(Event):
    """A recipe was run over the log as of `pinned_position`."""

    type: Literal["learn.dataset_built"] = "learn.dataset_built"
    recipe: str
    pinned_position: int = Field(ge=0)
    rows: int = Field(ge=0)
    digest: Digest


class ModelTrained(Event):
    """A model was fitted on the events between two positions."""

    type: Literal["learn.model_trained"] = "learn.model_trained"
    model: ModelId
    from_position: int = Field(ge=0)
    to_position: int = Field(ge=0)
    data: Digest
    config: dict[str, JsonValue]
    code: str
    metrics: dict[str, float]


class TrainingProgressed(Event):
    """A training looked at held-out sessions after `step` of `steps` (0 where time decides)."""

    type: Literal["learn.training_progressed"] = "learn.training_progressed"
    model: str
    """Its name; there is no digest before the end."""
    run: str
    """The training's own name."""
    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    loss: float
    parts: dict[str, float] = {}
    """Terms of the loss by name."""
    held_out: float
    """Squared error of the open-loop prediction over that of a copy, in [0, ∞)."""
    workers: int = Field(default=1, ge=1)


class ModelEvaluated(Event):
    """A candidate and the incumbent acted on the same seeds; `pairs` of them so far. Its refs are the sessions."""

    type: Literal["learn.model_evaluated"] = "learn.model_evaluated"
    model: ModelId
    incumbent: ModelId
    """A model, or the policy that the scenario itself describes, by its reasoner and the scenario's digest."""
    scenario: str
    pairs: int = Field(ge=1)
    figures: dict[str, JsonValue]


class ModelPromoted(Event):
    """A candidate became what sessions act by, or a share of them where it goes first as a canary."""

    type: Literal["learn.model_promoted"] = "learn.model_promoted"
    model: ModelId
    incumbent: ModelId | None = None
    figures: dict[str, JsonValue]
    share: float = Field(default=1.0, gt=0, le=1)
    why: str = ""


class ModelRejected(Event):
    """A candidate was not better than the incumbent."""

    type: Literal["learn.model_rejected"] = "learn.model_rejected"
    model: ModelId
    incumbent: ModelId
    figures: dict[str, JsonValue]
    why: str


class ModelRolledBack(Event):
    """A promoted model was taken back."""

    type: Literal["learn.model_rolled_back"] = "learn.model_rolled_back"
    model: ModelId
    to: ModelId
    why: str
    figures: dict[str, JsonValue] = {}


ModelEntry = Annotated[
    TrainingProgressed | ModelTrained | ModelEvaluated | ModelPromoted | ModelRejected | ModelRolledBack,
    Field(discriminator="type"),
]
"""What stands on the stream `model/<its name>`."""

Entry = Annotated[
    DatasetBuilt | TrainingProgressed | ModelTrained | ModelEvaluated | ModelPromoted | ModelRejected | ModelRolledBack,
    Field(discriminator="type"),
]
"""What a log is told by those who are no session: of models, and of datasets on the stream `dataset/<its name>`."""


class ModelAdopted(Event):
    """From the next cycle on the session acts by `model`; None: as its scenario says."""

    type: Literal["learn.model_adopted"] = "learn.model_adopted"
    model: ModelId | None
    before: ModelId | None
    why: str

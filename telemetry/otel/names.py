"""Every name that goes out to OpenTelemetry.

The semantic conventions keep their names: `gen_ai.…` as the GenAI conventions of CONVENTION_COMMIT say, `error.type`
and `server.…` as the general ones. What they have no name for is ours, in the namespace `aetherloop`. A name is never
given another meaning. Invariant: no other module writes an attribute's, span's, or instrument's name out."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from telemetry.log.latency import BOUNDS_S

METER: Final = "aetherloop"
SERVICE: Final = "aetherloop"
SCOPE: Final = "aetherloop"
"""The instrumentation scope of spans."""
SCOPE_VERSION: Final = "1"
"""Of what events become: it counts up when the same events become other spans."""

CONVENTION: Final = "https://github.com/open-telemetry/semantic-conventions-genai"
CONVENTION_COMMIT: Final = "002c8a6ea1c8a42b14a4527db83b3cabcded610a"
"""Whose model/gen-ai/registry.yaml and spans.yaml the names below are of."""
SCHEMAS_COMMIT: Final = "2b902ce14e7fa9d3d97cac49de02bae6917c02ae"
"""Whose JSON schemas of messages the content follows."""
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

# --- the GenAI conventions ---------------------------------------------------------------------

OPERATION: Final = "gen_ai.operation.name"
INVOKE_AGENT: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
PLAN: Final = "plan"
SEARCH_MEMORY: Final = "search_memory"
UPSERT_MEMORY: Final = "upsert_memory"
DELETE_MEMORY: Final = "delete_memory"

PROVIDER: Final = "gen_ai.provider.name"
OURSELVES: Final = "aetherloop"
"""The provider of an agent that runs here."""
OPENAI: Final = "openai"
"""The provider of a model call: every endpoint is spoken to in this protocol, whoever is behind it."""

CONVERSATION: Final = "gen_ai.conversation.id"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_PARAMETERS: Final = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "n": "gen_ai.request.choice.count",
    "stream": "gen_ai.request.stream",
}
"""By the names of the request."""
DOUBLES: Final = frozenset(
    REQUEST_PARAMETERS[name] for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty")
)
"""Which of them are fractions."""
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
MEMORY_RECORD: Final = "gen_ai.memory.record.id"
MEMORY_COUNT: Final = "gen_ai.memory.record.count"
MEMORY_RECORDS: Final = "gen_ai.memory.records"

EVALUATION: Final = "gen_ai.evaluation.result"
"""A span event: somebody or something judged what the agent did."""
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
SCORE: Final = "gen_ai.evaluation.score.value"
SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
EXPLANATION: Final = "gen_ai.evaluation.explanation"

# --- the general conventions -------------------------------------------------------------------

ERROR_TYPE: Final = "error.type"
"""The class of what went wrong; absent where nothing did."""
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# --- ours: where something stands --------------------------------------------------------------

STREAM: Final = "aetherloop.stream"
CYCLE: Final = "aetherloop.cycle"
PHASE: Final = "aetherloop.phase"
EVENT: Final = "aetherloop.event.id"
"""The event that a span begins with, or that a span event or a link is of."""
OUTCOME_EVENT: Final = "aetherloop.event.outcome"
"""The event that a span ended with."""
DIGEST: Final = "aetherloop.event.digest"
"""SHA-256 of the stored payload of that event."""
MODE: Final = "aetherloop.mode"
UNFINISHED: Final = "aetherloop.unfinished"
WITHHELD: Final = "aetherloop.withheld"
"""How many events of the trace had no content that could be read here."""
BY_REFERENCE: Final = "aetherloop.by_reference"
"""Which attributes are digests of what they were, as a collector takes nothing so large."""
RELATION: Final = "aetherloop.relation"
"""Why a link is there."""

# --- ours: sessions ----------------------------------------------------------------------------

SESSION: Final = "session"
ENVIRONMENT: Final = "aetherloop.environment"
SEED: Final = "aetherloop.seed"
PURPOSE: Final = "aetherloop.purpose"
PLAYBOOK: Final = "aetherloop.playbook"
STATE_HASH: Final = "aetherloop.state.hash"
REDUCER: Final = "aetherloop.state.reducer"
CYCLES: Final = "aetherloop.cycles"
REASON: Final = "aetherloop.reason"
WHY: Final = "aetherloop.why"
"""In words, so only where content may leave."""
AFTER: Final = "aetherloop.resumed.after"
VERIFIED_TO: Final = "aetherloop.resumed.verified_to"
MODEL_CALLS: Final = "aetherloop.usage.model_calls"
COST: Final = "aetherloop.usage.cost_usd"

# --- ours: sense -------------------------------------------------------------------------------

OBSERVATION: Final = "aetherloop.observation.digest"
OBSERVATIONS: Final = "aetherloop.observation.count"
EPISODE: Final = "aetherloop.episode"
STEP: Final = "aetherloop.step"
ENDS_EPISODE: Final = "aetherloop.episode.ends"
EMBEDDER: Final = "aetherloop.memory.embedder"
RECALL_QUERY: Final = "aetherloop.recall.query.digest"
RECALL_K: Final = "aetherloop.recall.k"
RECALL_HITS: Final = "aetherloop.recall.hits"
RECALL_SCORES: Final = "aetherloop.recall.scores"
SURPRISE: Final = "surprise"
"""The evaluation of a prediction; its score is in nats."""
SURPRISE_ERROR: Final = "aetherloop.surprise.error"
SURPRISE_PERCENTILE: Final = "aetherloop.surprise.percentile"
COMPACTION_POLICY: Final = "aetherloop.compaction.policy"
COMPACTION_BEFORE: Final = "aetherloop.compaction.before_tokens"
COMPACTION_AFTER: Final = "aetherloop.compaction.after_tokens"

# --- ours: feel --------------------------------------------------------------------------------

VALENCE: Final = "aetherloop.affect.valence"
AROUSAL: Final = "aetherloop.affect.arousal"
VIRTUE: Final = "aetherloop.affect.virtue"
"""Followed by the virtue's name."""
ALLOWED: Final = "aetherloop.appraisal.allowed"
APPRAISAL: Final = "appraisal"
"""The evaluation of what was asked or proposed; its label is the verdict."""
APPRAISED: Final = "aetherloop.appraisal.of"
PROPOSAL: Final = "aetherloop.proposal"
RULES: Final = "aetherloop.rules"
CONSTRAINTS: Final = "aetherloop.constraints"
INSTEAD_OF: Final = "aetherloop.alternative.instead_of"
ACTION: Final = "aetherloop.action"
"""Its kind: move, tool_calls, say, ask_human, wait."""

# --- ours: reason ------------------------------------------------------------------------------

ENDPOINT: Final = "aetherloop.model.endpoint"
SPECIALIST: Final = "aetherloop.specialist"
PROMPT: Final = "aetherloop.prompt.digest"
CONTEXT: Final = "aetherloop.prompt.context"
"""How many events the prompt was built from."""
CALLS: Final = "aetherloop.answer.calls"
ATTEMPTS: Final = "aetherloop.attempts"
HTTP_STATUS: Final = "http.response.status_code"
PLAN_MODEL: Final = "aetherloop.plan.model"
PLAN_BELIEF: Final = "aetherloop.plan.belief"
PLAN_OPTIONS: Final = "aetherloop.plan.options"
PLAN_ENERGY: Final = "aetherloop.plan.energy"
PROPOSALS: Final = "aetherloop.proposals"
PREDICTION_MODEL: Final = "aetherloop.prediction.model"
ARGUMENTS: Final = "aetherloop.arguments.digest"
OPTIONS: Final = "aetherloop.decision.options"
KEPT: Final = "aetherloop.decision.remaining"

# --- ours: execute -----------------------------------------------------------------------------

ACT: Final = "act"
SAY: Final = "say"
ASK_HUMAN: Final = "ask_human"
APPROVAL: Final = "approval"
EFFECT: Final = "aetherloop.effect.key"
EFFECT_CLASS: Final = "aetherloop.effect.class"
EFFECT_ORDINAL: Final = "aetherloop.effect.ordinal"
OUTCOME: Final = "aetherloop.effect.outcome"
OBSERVED: Final = "aetherloop.effect.observed"
HAPPENED: Final = "aetherloop.effect.happened"
GRANTED: Final = "aetherloop.approval.granted"
REWARD: Final = "reward"
"""The evaluation of an effect by its environment."""
SUCCESS: Final = "aetherloop.success"
TERMINATED: Final = "aetherloop.episode.terminated"
TRUNCATED: Final = "aetherloop.episode.truncated"

# --- ours: learn, consent, training ------------------------------------------------------------

EPISODE_RETURN: Final = "aetherloop.episode.return"
FEEDBACK: Final = "feedback"
"""The evaluation by a person; its score is in [-1, 1]."""
IMPLICIT: Final = "aetherloop.feedback.implicit"
REMEMBERED: Final = "aetherloop.memory.why"
BELIEF_MODEL: Final = "aetherloop.belief.model"
TRANSITIONS: Final = "aetherloop.belief.transitions"
SPREAD_BEFORE: Final = "aetherloop.belief.spread.prior"
SPREAD: Final = "aetherloop.belief.spread.posterior"
STRATEGY: Final = "aetherloop.strategy"
REVIEW: Final = "review"
"""Before the name of a figure of a session's review."""
MODEL: Final = "aetherloop.model.id"
MODEL_BEFORE: Final = "aetherloop.model.before"
INCUMBENT: Final = "aetherloop.model.incumbent"
SHARE: Final = "aetherloop.model.share"
SCENARIO: Final = "aetherloop.scenario"
PAIRS: Final = "aetherloop.evaluation.pairs"
TRAIN: Final = "train"
RUN: Final = "aetherloop.training.run"
TRAINING_STEP: Final = "aetherloop.training.step"
TRAINING_STEPS: Final = "aetherloop.training.total_steps"
TRAINING_LOSS: Final = "aetherloop.training.step.loss"
TRAINING_HELD_OUT: Final = "aetherloop.training.step.held_out"
DATA: Final = "aetherloop.training.data"
FROM_POSITION: Final = "aetherloop.training.from_position"
TO_POSITION: Final = "aetherloop.training.to_position"
METRIC: Final = "aetherloop.training.metric"
"""Followed by the metric's name."""
RECIPE: Final = "aetherloop.dataset.recipe"
ROWS: Final = "aetherloop.dataset.rows"
DATASET_DIGEST: Final = "aetherloop.dataset.digest"
PINNED: Final = "aetherloop.dataset.pinned_position"
PURPOSES: Final = "aetherloop.consent.purposes"
KEYS: Final = "aetherloop.erased.keys"
"""How many keys were destroyed."""
ARCHIVE: Final = "aetherloop.archive"
FIRST: Final = "aetherloop.archive.first"
LAST: Final = "aetherloop.archive.last"

# --- ours: the record, one log record an event -------------------------------------------------

RECORD: Final = "aetherloop.record"
"""What of an event no other field of its log record says, as a JSON list: see `telemetry.otel.record`."""
LOG_ID: Final = "aetherloop.log.id"
"""On the resource: which log it comes from, as positions are of one log."""

# --- metrics -----------------------------------------------------------------------------------


class Instrument(NamedTuple):
    name: str
    unit: str
    """In UCUM, as the conventions ask for."""
    description: str


MODEL_NAME: Final = "aetherloop.model.name"
MODEL_KIND: Final = "aetherloop.model.kind"
LOSS_PART: Final = "aetherloop.training.loss.part"

LOSS: Final = Instrument("aetherloop.training.loss", "1", "Loss of the last step before a look at held-out sessions.")
LOSS_TERM: Final = Instrument("aetherloop.training.loss.term", "1", "One term of that loss.")
HELD_OUT: Final = Instrument(
    "aetherloop.training.held_out.error",
    "1",
    "Squared error of the open-loop prediction on held-out sessions over that of the prediction that nothing changes.",
)
STEPS: Final = Instrument("aetherloop.training.steps", "{step}", "Steps of the optimiser that were made.")
WORKERS: Final = Instrument("aetherloop.training.workers", "{worker}", "Workers that train.")
DURATION: Final = Instrument("aetherloop.training.duration", "s", "How long a training took, from its first row read.")
OVER_COPY: Final = Instrument(
    "aetherloop.model.error_over_copy",
    "1",
    "Error of a trained model on sessions that it never saw, over that of the prediction that nothing changes.",
)
OVER_LINEAR: Final = Instrument(
    "aetherloop.model.error_over_linear", "1", "The same over that of the linear model of the same sessions."
)

# --- metrics that follow from events -----------------------------------------------------------

METRICS_COMMIT: Final = "004902b8cb70aa5ae6ca4ae07132b7daabcd3e10"
"""Of CONVENTION, whose docs/gen-ai/gen-ai-metrics.md the instruments `gen_ai.…` are of, with their buckets. Later ones
count tokens by other instruments, which back ends do not know yet."""

TOKEN_TYPE: Final = "gen_ai.token.type"
STATUS: Final = "aetherloop.status"
"""What a session, an episode or an approval came to."""
RULE: Final = "aetherloop.rule"
FOLLOWER: Final = "aetherloop.follower"
"""Who follows the log: an exporter, the tables, the metrics themselves, or a cursor by its name."""
OVERFLOW: Final = "otel.metric.overflow"
"""Of OpenTelemetry's specification: the series of whatever came after the limit of series."""
OTHER: Final = "_OTHER"
"""Of the general conventions: what stands for a value that is not told apart."""


class Measure(NamedTuple):
    """An instrument whose series follow from events; no session and no person is ever among its attributes."""

    name: str
    kind: Literal["counter", "net", "histogram", "gauge"]
    """A net sum can fall. A histogram with bounds below 0 has no sum, as Prometheus asks; such a one stands beside."""
    unit: str
    description: str
    attributes: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, which they include."""


SHORT_S: Final = BOUNDS_S
"""From a linear predictor's step to a person's patience."""
CALL_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Of the convention, for calls of models and tools."""
AGENT_S: Final = (
    *(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064),
    *(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6),
)
"""Of the convention from 0.1 on, and finer below, where a simulator's cycles lie."""
TOKENS: Final = tuple(4**power for power in range(14))
"""Of the convention: 1 to 67,108,864."""
NATS: Final = (-8.0, -4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""A density's logarithm has either sign. A maze's surprises lie about -2 once its predictor has settled."""
REWARDS: Final = (-100.0, -10.0, -1.0, -0.1, -0.01, 0.0, 0.01, 0.1, 1.0, 10.0, 100.0)

CYCLE_COUNT: Final = Measure("aetherloop.cycles.closed", "counter", "{cycle}", "Cycles that closed.", (AGENT_NAME,))
CYCLE_S: Final = Measure(
    "gen_ai.invoke_agent.duration",
    "histogram",
    "s",
    "How long a cycle took, from its first command to its close.",
    (AGENT_NAME,),
    AGENT_S,
)
PHASE_S: Final = Measure(
    "aetherloop.phase.duration",
    "histogram",
    "s",
    "How long a phase worked in one cycle: the sum over its commands.",
    (AGENT_NAME, PHASE),
    SHORT_S,
)
EVENT_COUNT: Final = Measure("aetherloop.events", "counter", "{event}", "Events on the log.", (PHASE,))
SESSION_COUNT: Final = Measure(
    "aetherloop.sessions",
    "counter",
    "{session}",
    "Sessions that were opened or forked, and those that closed, by how.",
    (AGENT_NAME, STATUS),
)
EPISODE_COUNT: Final = Measure(
    "aetherloop.episodes", "counter", "{episode}", "Episodes that ended, by their success.", (AGENT_NAME, STATUS)
)
SURPRISE_NATS: Final = Measure(
    "aetherloop.surprise", "histogram", "{nat}", "Surprise at what was observed, per dimension.", (AGENT_NAME,), NATS
)
SURPRISE_NET: Final = Measure("aetherloop.surprise.net", "net", "{nat}", "Sum of the surprises.", (AGENT_NAME,))
REWARD_SIZE: Final = Measure("aetherloop.reward", "histogram", "1", "What an action brought.", (AGENT_NAME,), REWARDS)
REWARD_NET: Final = Measure("aetherloop.reward.net", "net", "1", "Sum of the rewards.", (AGENT_NAME,))
INHIBITION_COUNT: Final = Measure(
    "aetherloop.inhibitions",
    "counter",
    "{proposal}",
    "Proposals held back, by the first rule that did.",
    (AGENT_NAME, RULE),
)
APPROVAL_COUNT: Final = Measure(
    "aetherloop.approvals",
    "counter",
    "{approval}",
    "Approvals asked of people, granted and denied.",
    (AGENT_NAME, STATUS),
)
EFFECT_COUNT: Final = Measure(
    "aetherloop.effects",
    "counter",
    "{effect}",
    "Effects by what became of them; one that was unknown and then reconciled counts as both.",
    (AGENT_NAME, ACTION, EFFECT_CLASS, OUTCOME),
)
TOOL_S: Final = Measure(
    "gen_ai.execute_tool.duration",
    "histogram",
    "s",
    "How long a call of a tool took.",
    (AGENT_NAME, TOOL_NAME, ERROR_TYPE),
    CALL_S,
)
_MODEL: Final = (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL)
MODEL_S: Final = Measure(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    "How long a call of a model took, with what was tried again.",
    (*_MODEL, ERROR_TYPE),
    CALL_S,
)
MODEL_TOKENS: Final = Measure(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Tokens of a call, in and out.",
    (*_MODEL, TOKEN_TYPE),
    TOKENS,
)
MODEL_COST_USD: Final = Measure(
    "aetherloop.model.cost",
    "counter",
    "{USD}",
    "What calls of models cost, by the prices set.",
    (AGENT_NAME, RESPONSE_MODEL),
)
POSITION: Final = Measure("aetherloop.log.position", "gauge", "{event}", "Position of the last event on the log.", ())
LAG: Final = Measure(
    "aetherloop.export.lag", "gauge", "{event}", "Events on the log that a follower has not handed on.", (FOLLOWER,)
)
DELAY: Final = Measure(
    "aetherloop.export.delay", "gauge", "s", "Age of the oldest event that a follower has not handed on.", (FOLLOWER,)
)
HANDED_ON: Final = Measure(
    "aetherloop.export.handed_on", "counter", "{event}", "Events whose taking was acknowledged.", (FOLLOWER,)
)
SET_ASIDE: Final = Measure(
    "aetherloop.export.set_aside",
    "counter",
    "{event}",
    "Events that a collector refuses, kept beside the cursor.",
    (FOLLOWER,),
)
LOST: Final = Measure(
    "aetherloop.export.lost",
    "counter",
    "{event}",
    "Events on the log that a cursor passed and nobody was handed: looked up, not assumed.",
    (FOLLOWER,),
)
APPEND_S: Final = Measure(
    "aetherloop.log.append.duration",
    "histogram",
    "s",
    "From an append's submission until it is on disk, as the writing process saw it.",
    (),
    BOUNDS_S,
)

MEASURES: Final = (
    *(
        EVENT_COUNT,
        SESSION_COUNT,
        CYCLE_COUNT,
        CYCLE_S,
        PHASE_S,
        EPISODE_COUNT,
        SURPRISE_NATS,
        SURPRISE_NET,
        REWARD_SIZE,
        REWARD_NET,
    ),
    *(INHIBITION_COUNT, APPROVAL_COUNT, EFFECT_COUNT, TOOL_S, MODEL_S, MODEL_TOKENS, MODEL_COST_USD),
)
"""What follows from events alone."""
WATCHED: Final = (POSITION, APPEND_S, LAG, DELAY, HANDED_ON, SET_ASIDE, LOST)
"""What is observed where it happens."""

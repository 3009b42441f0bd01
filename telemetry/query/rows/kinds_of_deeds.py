"""Kinds of rows that tell what was done, what it brought, and what was learnt of it."""

from __future__ import annotations

from typing import Final

from telemetry.query.rows.kinds import FLAG, INT, INTS, REAL, REALS, TEXT, TIME, Kind, column, json, maybe

ACTIONS: Final = Kind(
    "actions",
    "What was done, and what came of it. An effect that nobody can say of whether it happened is `unknown` for good "
    "here; what is found out later is a row of `feedback`.",
    "with the outcome; `event` is `execute.intended`",
    (
        maybe("decision", TEXT, "Event of the decision."),
        maybe("observation", TEXT, "Event of what it was decided on."),
        column("outcome_event", TEXT, "Event of the outcome."),
        column("intended_at", TIME, "When the intent was appended, UTC."),
        column("effect", TEXT, "The effect's key."),
        column("ordinal", INT, "Place among those of its decision."),
        column("effect_class", TEXT, "How one that may or may not have happened is settled."),
        maybe("proposal", INT, "Number of the proposal."),
        column("kind", TEXT, "move, tool_calls, say, ask_human or wait."),
        json("action", "What was done, arrays as lists of numbers."),
        maybe("move", REALS, "Of a move: the control, or the index as the only number."),
        maybe("move_shape", INTS, "Of a move: its shape; empty for an index."),
        maybe("tool", TEXT, "Of a call."),
        maybe("call", TEXT, "Id of the call."),
        json("arguments", "Of the call."),
        maybe("text", TEXT, "What was said or asked."),
        column("attempts", INT, "How often it was handed to an executor."),
        maybe("approved", FLAG, "A person's answer, where one was asked."),
        maybe("approved_by", TEXT, "Whose."),
        column("outcome", TEXT, "succeeded, failed, unknown or cancelled."),
        maybe("error_kind", TEXT, "raised, timeout, invalid or lost."),
        maybe("error", TEXT, "Why it failed, is unknown or was cancelled."),
        json("result", "What a tool answered."),
        maybe("observed", TEXT, "Digest of what a simulator showed: `digest` of the next row of `observations`."),
        maybe("reward", REAL, "What it brought."),
        column("terminated", FLAG, "The episode ended by the environment's rules."),
        column("truncated", FLAG, "The episode was cut off."),
        maybe("success", FLAG, "The environment's own word on whether its goal is reached."),
        column("elapsed_ns", INT, "How long it took."),
    ),
)


REWARDS: Final = Kind(
    "rewards",
    "What an action brought.",
    "with `learn.rewarded`",
    (
        maybe("outcome_event", TEXT, "Event of the outcome: `outcome_event` of a row of `actions`."),
        column("reward", REAL, "The reward."),
        column("episode_return", REAL, "The sum of the episode so far."),
        maybe("success", FLAG, "The environment's own word on whether its goal is reached."),
        column("ends_episode", FLAG, "Whether the episode is over."),
    ),
)


BELIEFS: Final = Kind(
    "beliefs",
    "The world model's confidence in itself, before and after it learnt a transition.",
    "with `learn.belief_updated`",
    (
        column("model", TEXT, "`name@digest`."),
        column("prior_transitions", INT, "Transitions learnt from before."),
        column("prior_spread", REAL, "Root mean predictive standard deviation before, in observation units."),
        column("posterior_transitions", INT, "Transitions learnt from."),
        column("posterior_spread", REAL, "The spread after."),
    ),
)


FEEDBACK: Final = Kind(
    "feedback",
    "What was found out later about something that was said or done.",
    "with `learn.feedback_received`, `learn.corrected` or `execute.reconciled`",
    (
        maybe("about", TEXT, "The event that it is about: a decision, an intent or outcome, a message."),
        column("what", TEXT, "said, implied (a person's next message), corrected (tried again) or reconciled."),
        maybe("rating", REAL, "In [-1, 1]."),
        maybe("text", TEXT, "In words."),
        maybe("author", TEXT, "Who found out, of an effect that was unknown."),
        maybe("happened", FLAG, "Whether it had happened."),
        json("result", "What its target answered, by their word."),
    ),
)


MODELS: Final = Kind(
    "models",
    "What became of trained models: looks while they train, verdicts, promotions, and who acts by them.",
    "with `learn.training_progressed`, `learn.model_…`",
    (
        column("what", TEXT, "progressed, trained, evaluated, promoted, rejected, rolled_back or adopted."),
        maybe("model", TEXT, "`name@digest`; of a look, the name."),
        maybe("other", TEXT, "The incumbent, or the model before or after it."),
        maybe("run", TEXT, "Of a look: the training's own name."),
        maybe("step", INT, "Of a look."),
        maybe("loss", REAL, "Of a look."),
        maybe("held_out", REAL, "Of a look: error on held-out sessions over that of a copy."),
        maybe("share", REAL, "Of the sessions, of a promotion."),
        json("figures", "What was measured."),
        maybe("why", TEXT, "In words."),
    ),
)

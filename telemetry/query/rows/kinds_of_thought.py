"""Kinds of rows that tell what was judged, asked of models, said, expected and decided."""

from __future__ import annotations

from typing import Final

from telemetry.query.rows.kinds import FLAG, FLOATS, INT, INTS, REAL, REALS, TEXT, TEXTS, Kind, column, json, maybe

APPRAISALS: Final = Kind(
    "appraisals",
    "The heart's judgement of what was asked, or of one proposal.",
    "with `feel.appraised`",
    (
        column("of", TEXT, "request or proposal."),
        column("verdict", TEXT, "allow, refuse or ask."),
        maybe("proposal", INT, "Its number in the cycle."),
        json("action", "What was proposed."),
        maybe("arguments", TEXT, "Digest of exactly what was judged."),
        column("rules", TEXTS, "Those that it rests on."),
        json("grounds", "Rules with their reasons."),
        column("constraints", TEXTS, "What binds the reasoning that follows."),
    ),
)


MODEL_CALLS: Final = Kind(
    "model_calls",
    "What one model was asked, and one answer to it or why there is none.",
    "with `reason.answered` or `reason.unanswered`; `event` is the request",
    (
        column("answer", TEXT, "Event of the answer, or of there being none."),
        column("call", INT, "Place of the request among those of its cycle."),
        column("choice", INT, "Place among several answers to one request."),
        maybe("specialist", TEXT, "Who of several reasoners asked."),
        maybe("endpoint", TEXT, "Where."),
        maybe("model", TEXT, "The model that was asked for."),
        maybe("answered_by", TEXT, "The model that answered, by its own word."),
        json("parameters", "Of the request."),
        maybe("prompt", TEXT, "Digest of messages and tools."),
        column("context", TEXTS, "The events that the prompt was built from."),
        maybe("why", TEXT, "Why this endpoint, where a router chose it."),
        column("outcome", TEXT, "answered, or how it failed: unreachable, timeout, rate_limited and so on."),
        maybe("status", INT, "The last HTTP status of a failure."),
        column("attempts", INT, "How often it was tried; 1 where it was answered."),
        maybe("error", TEXT, "What failed, in words."),
        maybe("text", TEXT, "What the model said; of a failure, what had come of it."),
        json("tool_calls", "What it asked for, in the form of `messages.tool_calls`."),
        maybe("finish", TEXT, "Why it stopped."),
        column("input_tokens", INT, "Tokens read."),
        column("output_tokens", INT, "Tokens written."),
        column("cost_usd", REAL, "US dollars."),
        maybe("tokens", INTS, "Ids of the tokens written, where the model gives them."),
        maybe("logprobs", REALS, "Their log-probabilities."),
        column("elapsed_ns", INT, "How long the cycle's answers took together, on the first of them; else 0."),
    ),
)


MESSAGES: Final = Kind(
    "messages",
    "What was said and done in a conversation. In order: by `turn`, then `place`.",
    "with what was heard, decided, or came of a call",
    (
        column("turn", INT, "Version of the event that begins the turn: of a tool's answer, the decision to call it."),
        column("place", INT, "Place in the turn; answers of parallel calls stand in the order of their calls."),
        column("role", TEXT, "system, user, assistant or tool."),
        maybe("content", TEXT, "Its words; of a tool, the result as canonical JSON or its error in words."),
        json(
            "tool_calls", "Of an assistant: `[{id, type: function, function: {name, arguments}}]`, arguments as JSON."
        ),
        maybe("tool_call_id", TEXT, "Of a tool: the call that it answers."),
        maybe("name", TEXT, "Of a tool: its name."),
        column("author", TEXT, "person, model, heart (said in place of what was held back), tool or system."),
        maybe("model", TEXT, "The model that said it."),
        maybe("answer", TEXT, "Event of the model's answer."),
        maybe("failed", FLAG, "Of a tool: whether `content` is an error."),
    ),
)


DECISIONS: Final = Kind(
    "decisions",
    "What was chosen among what was proposed and allowed. The `option_…` lists have one place a proposal.",
    "with `reason.decided`",
    (
        maybe("observation", TEXT, "Event of what it was decided on."),
        maybe("proposal", INT, "The chosen one; null where nothing that was proposed was."),
        column("kind", TEXT, "move, tool_calls, say, ask_human or wait."),
        json("action", "What was chosen, arrays as lists of numbers."),
        column("arguments", TEXT, "Digest of it."),
        column("why", TEXT, "In words."),
        maybe("held_back", INT, "The proposal that would have been chosen and was held back."),
        column("rules", TEXTS, "The rules that held it back."),
        column("option_proposals", INTS, "Numbers of the proposals."),
        column("option_actions", TEXTS, "Each as canonical JSON; null where it is not known."),
        column("option_verdicts", TEXTS, "What the heart said of each."),
        column("option_scores", REALS, "What the reasoner thinks of each; the lower, the better."),
        maybe("plan", TEXT, "Event of `reason.planned`, where it was planned."),
        maybe("model", TEXT, "The world model that it was planned by."),
        maybe("belief", TEXT, "Digest of the encoding that it was planned from."),
        maybe("latent", FLOATS, "What the model expects to believe once the first option is done."),
        maybe("goal", FLOATS, "Where that is in goal space."),
        maybe(
            "option_energies", REALS, "Expected free energy of each, nats; `energy = pragmatic - weight × epistemic`."
        ),
        maybe("option_pragmatic", REALS, "What it costs to be off from what is preferred."),
        maybe("option_epistemic", REALS, "What would be learnt on the way."),
        maybe("option_probabilities", REALS, "Of being put first."),
    ),
)


PREDICTIONS: Final = Kind(
    "predictions",
    "What the world model expected to observe after the chosen action; what came of it is a row of `surprises`.",
    "with `reason.predicted`",
    (
        column("proposal", INT, "The chosen one."),
        json("action", "What was proposed."),
        column("mean", FLOATS, "`observations.values`, then `achieved`, in their own units."),
        column("variance", FLOATS, "Of each, above 0."),
        column("model", TEXT, "`name@digest`."),
    ),
)

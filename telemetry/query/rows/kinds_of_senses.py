"""Kinds of rows that tell what was perceived, how surprising it was, and what was remembered."""

from __future__ import annotations

from typing import Final

from telemetry.query.rows.kinds import FLAG, FLOATS, INT, REAL, REALS, SHAPES, TEXT, TEXTS, Kind, column, json, maybe

OBSERVATIONS: Final = Kind(
    "observations",
    "What was perceived at the beginning of a cycle.",
    "with `sense.observed`",
    (
        column("digest", TEXT, "SHA-256 of the observations and the goal."),
        column("episode", INT, "Of the environment, from 0."),
        column("step", INT, "Actions taken in the episode before; 0 after a reset."),
        column("ends_episode", FLAG, "Nothing can be done after it."),
        column("names", TEXTS, "Of the arrays, in their order."),
        column("dtypes", TEXTS, "Of the arrays as recorded."),
        column("shapes", SHAPES, "Of the arrays."),
        column("values", REALS, "The arrays, flattened in C order, one after the other; integers up to 2^53 exactly."),
        maybe("achieved", REALS, "Where the agent is in goal space."),
        maybe("desired", REALS, "Where it should be."),
        json("content", "The observations that are no arrays: messages, texts, tool results, feedback."),
        maybe("text", TEXT, "Their words, one a line."),
        column("of", TEXTS, "Outcomes that were perceived with it and are on the log already."),
    ),
)


SURPRISES: Final = Kind(
    "surprises",
    "How far a prediction was off, as the observation of the next cycle showed.",
    "with `sense.surprised`",
    (
        maybe("prediction", TEXT, "Event of the prediction: `event` of a row of `predictions`."),
        maybe("observation", TEXT, "Event of what was observed."),
        column("error", REAL, "Root mean squared error over the dimensions, in observation units."),
        column("nats", REAL, "Negative log-likelihood of what was seen, per dimension."),
        column("percentile", REAL, "Share of the session's recent surprises that were not above this one."),
        column("model", TEXT, "What predicted, `name@digest`."),
    ),
)


RECALLS: Final = Kind(
    "recalls",
    "What was remembered on perceiving something.",
    "with `sense.recalled`",
    (
        maybe("observation", TEXT, "Event of what was perceived, which the query is made of."),
        maybe("text", TEXT, "Its words, where it has any."),
        column("query", TEXT, "Digest of the query's vector."),
        column("embedder", TEXT, "What made the vectors."),
        column("k", INT, "How many were asked for."),
        column("hits", TEXTS, "Events of the episodes, best first: `event` of rows of `memories`."),
        column("scores", REALS, "Their similarities, in (0, 1]."),
        column("texts", TEXTS, "The episodes in words, where they have any."),
    ),
)


MEMORIES: Final = Kind(
    "memories",
    "An episode that was kept to be recalled.",
    "with `learn.remembered`",
    (
        maybe("observation", TEXT, "Event of what was perceived."),
        json("action", "What was done."),
        maybe("reward", REAL, "What it brought."),
        maybe("nats", REAL, "How surprising it was."),
        column("why", TEXT, "surprise, reward or always."),
        maybe("text", TEXT, "The episode in words."),
        column("embedder", TEXT, "What made the vector."),
        column("vector", FLOATS, "What it is found by."),
    ),
)

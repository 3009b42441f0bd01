"""The first phase: what is perceived, and how surprising it is. Knows the last prediction; knows no model."""

from __future__ import annotations

from collections.abc import Sequence

from loops.context import Context
from loops.models import seen
from loops.percept import Percept
from telemetry.events import Event, sense
from telemetry.events.values import Observation, Text, digest_of
from world_model.surprise import percentile, surprise


class Sense:
    def observe(self, context: Context, percept: Percept) -> Sequence[Event]:
        """`sense.observed`, and `sense.surprised` when this observation was predicted."""
        observed = sense.Observed(
            observations=percept.observations,
            goal=percept.goal,
            digest=percept.digest,
            episode=context.state.episode,
            step=context.state.step,
            ends_episode=percept.ends_episode,
        )
        expected = context.scene.expected
        if expected is None or observed.step == 0:
            return (observed,)
        off = surprise(expected.mean.numpy(), expected.variance.numpy(), seen(context.spaces, observed))
        return observed, sense.Surprised(
            error=off.error,
            nats=off.nats,
            percentile=percentile(off.nats, context.state.surprises),
            model=expected.model,
        )

    def hear(self, context: Context, heard: Sequence[Observation]) -> Sequence[Event]:
        """`sense.observed` in a conversation: what people said, and the outcomes of calls that are on the log."""
        scene = context.scene
        answers = [Text(name=turn.answers, text=turn.text) for turn in scene.dialogue if turn.event in scene.outcomes]
        return (
            sense.Observed(
                observations=tuple(heard),
                of=scene.outcomes,
                digest=digest_of(*heard, *answers),
                step=context.state.cycle - 1,
            ),
        )

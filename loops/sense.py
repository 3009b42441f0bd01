"""The first phase: what is perceived, and how surprising it is. Knows the last prediction; knows no model."""

from __future__ import annotations

from collections.abc import Sequence

from loops.context import Context
from loops.models import seen
from loops.percept import Percept
from telemetry.events import Event, sense
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

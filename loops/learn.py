"""The fifth phase: what the action brought, what the model makes of it, and what is worth remembering."""

from __future__ import annotations

from collections.abc import Sequence

from loops.context import Context
from loops.models import Models, learn, seen
from memory.embed import VectorEmbedder
from memory.episode import why_remember
from memory.settings import MemorySettings
from telemetry.events import Event, execute
from telemetry.events import learn as learning
from telemetry.events.values import Array, Belief, Episode


class Learn:
    def __init__(self, models: Models, memory: MemorySettings) -> None:
        self._models = models
        self._memory = memory

    def cycle(self, context: Context) -> Sequence[Event]:
        """What one cycle taught: reward, belief, memory, in this order, each where there is something to say."""
        return *self._rewarded(context), *self._believed(context), *self._remembered(context)

    def _rewarded(self, context: Context) -> Sequence[Event]:
        done = context.scene.outcome
        if not isinstance(done, execute.Succeeded) or done.reward is None:
            return ()
        return (
            learning.Rewarded(
                reward=done.reward,
                episode_return=context.state.episode_return + done.reward,
                success=done.success,
                ends_episode=done.terminated or done.truncated,
            ),
        )

    def _believed(self, context: Context) -> Sequence[Event]:
        transition = context.scene.transition
        if transition is None or not self._models.predicts(context.spaces):
            return ()
        model = self._models.of(context)
        prior = Belief(transitions=model.transitions, spread=model.spread)
        learn(model, context.spaces, transition)
        posterior = Belief(transitions=model.transitions, spread=model.spread)
        return (learning.BeliefUpdated(model=model.model_id, prior=prior, posterior=posterior),)

    def _remembered(self, context: Context) -> Sequence[Event]:
        observed, done = context.scene.observed, context.scene.outcome
        assert observed is not None, "learn follows sense"
        reward = done.reward if isinstance(done, execute.Succeeded) else None
        why = why_remember(self._memory.when, percentile=context.state.percentile, reward=reward)
        spaces = context.spaces
        if why is None or spaces.width == 0:
            return ()
        embedder = VectorEmbedder(spaces.width)
        surprised = context.scene.surprised
        return (
            learning.Remembered(
                episode=Episode(
                    observation=observed.digest,
                    action=context.scene.intended.action if context.scene.intended else None,
                    reward=reward,
                    nats=surprised.nats if surprised else None,
                    why=why,
                ),
                vector=Array.of(embedder.embed(seen(spaces, observed))),
                embedder=embedder.embedder,
            ),
        )

"""The fifth phase: what the action brought, what the model makes of it, and what is worth remembering."""

from __future__ import annotations

from collections.abc import Sequence

from loops.context import Context
from loops.models import Models, seen
from loops.spaces import ToolActions
from memory.embed import TextEmbedder, VectorEmbedder
from memory.episode import why_remember
from memory.settings import MemorySettings
from telemetry.events import Event, execute
from telemetry.events import learn as learning
from telemetry.events.values import Array, AskHuman, Episode, Feedback, Message, Say


class Learn:
    def __init__(self, models: Models, memory: MemorySettings) -> None:
        self._models = models
        self._memory = memory
        self._words = TextEmbedder()

    def cycle(self, context: Context) -> Sequence[Event]:
        """What one cycle taught: feedback, reward, belief, memory, in this order, where there is something to say."""
        if isinstance(context.spaces.action, ToolActions):
            return *_judged(context), *self._retold(context)
        return *self._rewarded(context), *self.believe(context), *self._remembered(context)

    def _retold(self, context: Context) -> Sequence[Event]:
        """The cycle of a conversation in words, where something was said in it."""
        text = retell(context)
        why = why_remember(self._memory.when, percentile=None, reward=None, spoken=bool(text))
        observed = context.scene.observed
        assert observed is not None, "learn follows sense"
        vector = self._words.embed(text)
        if why is None or not vector.any():  # words that leave nothing to be found by
            return ()
        decided = context.scene.decided
        episode = Episode(observation=observed.digest, action=decided.action if decided else None, why=why, text=text)
        return (learning.Remembered(episode=episode, vector=Array.of(vector), embedder=self._words.embedder),)

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

    def believe(self, context: Context) -> Sequence[Event]:
        """`learn.belief_updated` once the model learnt the transition that this cycle completed, if it did."""
        transition = context.scene.transition
        if transition is None or not self._models.predicts(context.spaces, context.scene.model):
            return ()
        return (self._models.learn(context, transition),)

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


EPISODE_CHARACTERS = 1_000
"""The most of one exchange that is remembered in words; the whole is on the log."""


def retell(context: Context) -> str:
    """What a person said in this cycle and what was said to them, '' when neither."""
    observed, decided = context.scene.observed, context.scene.decided
    said = [o.text for o in observed.observations if isinstance(o, Message)] if observed is not None else []
    match decided.action if decided is not None else None:
        case Say(text=text) | AskHuman(question=text):
            said.append(text)
    return " → ".join(said)[:EPISODE_CHARACTERS]


def _judged(context: Context) -> Sequence[Event]:
    """What people thought of what was done: as they said, or as their next message says without meaning to."""
    observed, turns = context.scene.observed, context.scene.dialogue
    assert observed is not None, "learn follows sense"
    heard = context.scene.ids["sense.observed"]
    before = [turn for turn in turns if turn.event != heard]
    if decided := context.scene.ids.get("reason.decided"):
        before = before[: next((i for i, turn in enumerate(before) if turn.event == decided), len(before))]
    about = next((turn.event for turn in reversed(before) if turn.role == "assistant"), None)
    events: list[Event] = []
    for observation in observed.observations:
        match observation:
            case Feedback():
                judged = observation if observation.about else observation.model_copy(update={"about": about})
                events.append(learning.FeedbackReceived(feedback=judged))
            case Message(role="user") if about is not None:
                implied = Feedback(text=observation.text[:EPISODE_CHARACTERS], about=about)
                events.append(learning.FeedbackReceived(feedback=implied, implicit=True))
    return events

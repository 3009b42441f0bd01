"""Every name that goes out to OpenTelemetry.

The semantic conventions, GenAI's among them, have none for training, so those are ours, in a namespace of ours; what
the conventions name keeps that name. A name is never given another meaning."""

from __future__ import annotations

from typing import Final, NamedTuple

METER: Final = "aetherloop"
SERVICE: Final = "aetherloop"


class Instrument(NamedTuple):
    name: str
    unit: str
    """In UCUM, as the conventions ask for."""
    description: str


MODEL_NAME: Final = "aetherloop.model.name"
MODEL_KIND: Final = "aetherloop.model.kind"
LOSS_PART: Final = "aetherloop.training.loss.part"
ERROR_TYPE: Final = "error.type"
"""Of the general conventions: the class of what ended a training; absent where nothing went wrong."""

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

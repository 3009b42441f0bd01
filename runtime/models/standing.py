"""What sessions act by: the policy of their scenario, or the model that was promoted last.

Knows names and the words on the log about models; reads no weights. Invariant: what stands follows from the log alone
where it says anything of a name."""

from __future__ import annotations

from runtime.scenario import ScenarioFile
from telemetry.events.values import ModelId


def base_id(file: ScenarioFile) -> ModelId:
    """The policy that the scenario itself describes, as a model's id: its reasoner and its digest."""
    return f"{file.scenario.reasoner.kind}@{file.digest[:12]}"

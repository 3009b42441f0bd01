"""Expected free energy of courses of action, and the probability that each is taken.

Knows costs and nats; knows no model and no search. Invariant: everything is a pure function of its arguments.

G(π) = −Σ_t E[ln p(o_t|C)] − β Σ_t epistemic_t  with  p(o|C) ∝ exp(−cost(o)/τ), summed over the whole horizon (Friston
et al., *Active inference and epistemic value*, Cognitive Neuroscience 6(4), 2015; Parr, Pezzulo & Friston, *Active
Inference*, MIT Press 2022, eq. 4.7). The normaliser of p(o|C) is the same for every course and left out. The sum, not
the mean, is taken, so that G is that of the whole course, as pymdp's is: a longer horizon makes choices sharper.

In the words of pymdp 1.0 (`pymdp.control`), whose scores are −G: −cost/τ is `C`, `pragmatic` the negative of
`compute_expected_utility` summed over the policy, `epistemic` its information gains, γ its `gamma`, and
`policy_posterior` the `q_pi` of `update_posterior_policies` under a flat `E`. The tests compare both."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Energy(NamedTuple):
    """G and its parts in nats; the last dimension, decisions, is summed away. `total` = `pragmatic` − β `epistemic`."""

    total: Tensor
    pragmatic: Tensor
    """−Σ E[ln p(o|C)] without its normaliser: Σ cost/τ, ≥ 0."""
    epistemic: Tensor
    """What would be learnt on the way, before β."""


def expected_free_energy(cost: Tensor, epistemic: Tensor, *, temperature: float, weight: float) -> Energy:
    """`cost` in decisions and `epistemic` in nats, both (…, H); `temperature` is τ, `weight` β."""
    pragmatic = cost.sum(-1) / temperature
    learnt = epistemic.sum(-1)
    # With β = 0 what would be learnt must not matter even where it is not finite.
    total = pragmatic - weight * learnt if weight else pragmatic
    return Energy(total=total, pragmatic=pragmatic, epistemic=learnt)


def policy_posterior(energy: NDArray[np.float64], *, precision: float) -> NDArray[np.float64]:
    """P(policy) = softmax(−γG) over the last dimension; a flat prior over policies."""
    weights = np.exp(-precision * (energy - energy.min(axis=-1, keepdims=True)))
    posterior: NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return posterior


def gumbel_order(energy: NDArray[np.float64], *, precision: float, noise: np.random.Generator) -> NDArray[np.int64]:
    """Indices in the order of a draw without replacement from softmax(−γG), shape (options,).

    The first is a draw from it; the Gumbel-max trick, and for the order Yellott, *J. Math. Psychology* 15(2), 1977."""
    gumbels = noise.gumbel(size=energy.shape)
    return np.argsort(precision * energy - gumbels, kind="stable").astype(np.int64)

"""Expected free energy against plain Python over all policies, and against pymdp.

Which of our terms is which of pymdp's (inferactively-pymdp 1.0, `pymdp.control`; its scores are −G):

| ours | pymdp's |
|---|---|
| −cost(o)/τ, ln p(o\\|C) without its normaliser | `C`, log-preferences of one modality |
| `pragmatic` = −Σ_t E[ln p(o_t\\|C)] | −Σ_t `compute_expected_utility` |
| `epistemic` | `compute_info_gain` (states) and −`calc_negative_pB_info_gain` (parameters) |
| β | 1 |
| G = `pragmatic` − β `epistemic` | −`neg_efe` of `compute_neg_efe_policy` |
| γ; `policy_posterior` | `gamma`; `q_pi` of `update_posterior_policies` under a flat `E` |
"""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from world_model.layout import Controls
from world_model.plan.energy import expected_free_energy, gumbel_order, policy_posterior
from world_model.plan.forward import Rollout
from world_model.plan.planner import plan
from world_model.plan.settings import PlanSettings

STATES, CHOICES, HORIZON = 5, 3, 3


class Chain:
    """A hidden Markov chain seen without error: what is believed, and foreseen, is how likely each state is.

    A cost that is linear in it is expected exactly; what would be learnt is the entropy of what will be seen."""

    def __init__(self, seed: int) -> None:
        moves = np.random.default_rng(seed).dirichlet(np.full(STATES, 0.3), size=(CHOICES, STATES))
        self.moves_ASS = np.moveaxis(moves, 1, 2)  # p(next | now), column by column, as pymdp's B
        self.cost_S = np.random.default_rng(seed + 100).uniform(0, 6, size=STATES)

    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        moves = torch.tensor(self.moves_ASS, dtype=torch.float32)
        likely = start_BZ[:, None].expand(-1, controls_BNHA.shape[1], -1)
        steps = []
        for control in controls_BNHA.unbind(dim=2):
            likely = torch.einsum("bna,ast,bnt->bns", control, moves, likely)
            steps.append(likely)
        outcome = torch.stack(steps, dim=2)
        entropy = -torch.special.xlogy(outcome, outcome).sum(-1)
        return Rollout(outcome_BNHG=outcome, epistemic_BNH=entropy, latent_BNHZ=outcome)

    def cost(self, outcome: Tensor) -> Tensor:
        return outcome @ torch.tensor(self.cost_S, dtype=torch.float32)


def by_hand(chain: Chain, start: int, policy: tuple[int, ...], *, temperature: float, weight: float) -> float:
    """G of one policy in plain Python."""
    likely = [float(state == start) for state in range(STATES)]
    total = 0.0
    for choice in policy:
        likely = [
            sum(chain.moves_ASS[choice, after, before] * likely[before] for before in range(STATES))
            for after in range(STATES)
        ]
        wanted = sum(p * -chain.cost_S[state] / temperature for state, p in enumerate(likely))
        learnt = -sum(p * math.log(p) for p in likely if p > 0)
        total -= wanted + weight * learnt
    return total


def everything() -> list[tuple[int, ...]]:
    return list(itertools.product(range(CHOICES), repeat=HORIZON))


def energies(chain: Chain, start: int, *, temperature: float, weight: float) -> NDArray[np.float64]:
    controls = torch.nn.functional.one_hot(torch.tensor(everything()), CHOICES).float()[None]
    foreseen = chain.rollout(torch.eye(STATES)[start][None], controls)
    energy = expected_free_energy(
        chain.cost(foreseen.outcome_BNHG), foreseen.epistemic_BNH, temperature=temperature, weight=weight
    )
    return energy.total[0].double().numpy()


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 0.0), (0.5, 1.0), (3.0, 0.2)])
def test_the_energy_of_every_policy_is_that_of_plain_python(temperature: float, weight: float) -> None:
    for seed in range(3):
        chain = Chain(seed)
        expected = [by_hand(chain, seed, policy, temperature=temperature, weight=weight) for policy in everything()]
        assert energies(chain, seed, temperature=temperature, weight=weight) == pytest.approx(expected, rel=1e-4)


def test_energies_and_policy_posterior_are_pymdps() -> None:
    pytest.importorskip("pymdp", reason="inferactively-pymdp is not installed; it comes with the extra `interop`")
    import jax.numpy as jnp
    from pymdp.control import update_posterior_policies

    for seed, precision in itertools.product(range(3), (0.3, 1.0, 4.0)):
        chain = Chain(seed)
        temperature, start = 0.7, seed
        posterior, scores = update_posterior_policies(
            policy_matrix=jnp.asarray(everything())[..., None],
            qs_init=[jnp.eye(STATES)[start]],
            A=[jnp.eye(STATES)],
            B=[jnp.moveaxis(jnp.asarray(chain.moves_ASS), 0, 2)],
            C=[jnp.asarray(-chain.cost_S / temperature)],
            E=jnp.full(len(everything()), 1 / len(everything())),
            pA=None,
            pB=None,
            A_dependencies=[[0]],
            B_dependencies=[[0]],
            gamma=precision,
        )
        ours = energies(chain, start, temperature=temperature, weight=1.0)
        assert ours == pytest.approx(-np.asarray(scores), rel=1e-3, abs=1e-3)
        assert policy_posterior(ours, precision=precision) == pytest.approx(np.asarray(posterior), abs=2e-3)


def test_a_beam_that_holds_every_course_finds_what_enumeration_finds() -> None:
    controls = Controls(kind="discrete", width=CHOICES)
    settings = PlanSettings(horizon=HORIZON, beam=CHOICES**HORIZON, temperature=0.5, epistemic=0.3, precision=0.8)
    for seed in range(5):
        chain = Chain(seed)
        start = seed % STATES
        (found,) = plan(
            chain, torch.eye(STATES)[start][None], [chain.cost], controls, [np.random.default_rng(seed)], settings
        )
        best = dict.fromkeys(range(CHOICES), math.inf)
        for policy in everything():
            energy = by_hand(chain, start, policy, temperature=0.5, weight=0.3)
            best[policy[0]] = min(best[policy[0]], energy)
        assert {int(option.control_A.argmax()): option.energy for option in found.options} == pytest.approx(
            best, rel=1e-4
        )
        weights = [math.exp(-0.8 * best[int(option.control_A.argmax())]) for option in found.options]
        probabilities = [option.probability for option in found.options]
        assert probabilities == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-3)
        first = int(found.options[0].control_A.argmax())
        assert found.outcome_G == pytest.approx(chain.moves_ASS[first][:, start], abs=1e-5)


def test_a_narrow_beam_still_weighs_every_first_choice() -> None:
    chain = Chain(0)
    settings = PlanSettings(horizon=6, beam=CHOICES)
    (found,) = plan(
        chain,
        torch.eye(STATES)[:1],
        [chain.cost],
        Controls(kind="discrete", width=CHOICES),
        [np.random.default_rng(0)],
        settings,
    )
    assert {int(option.control_A.argmax()) for option in found.options} == set(range(CHOICES))


def test_options_are_drawn_as_often_as_their_probability_says_and_all_are_in_the_order() -> None:
    energy = np.array([0.0, 1.0, 3.0, 0.5])
    probability = policy_posterior(energy, precision=1.2)
    assert probability.sum() == pytest.approx(1)
    noise = np.random.default_rng(0)
    orders = np.array([gumbel_order(energy, precision=1.2, noise=noise) for _ in range(20_000)])
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    assert np.bincount(orders[:, 0], minlength=4) / len(orders) == pytest.approx(probability, abs=0.015)
    # Second place: without the first, in proportion to what is left.
    second = [sum(probability[i] * probability[j] / (1 - probability[i]) for i in range(4) if i != j) for j in range(4)]
    assert np.bincount(orders[:, 1], minlength=4) / len(orders) == pytest.approx(second, abs=0.015)


def test_without_epistemic_weight_what_would_be_learnt_does_not_matter() -> None:
    cost = torch.rand((1, 6, 4), generator=torch.Generator().manual_seed(0))
    unsure = torch.full((1, 6, 4), torch.inf)
    plain = expected_free_energy(cost, torch.zeros_like(cost), temperature=1.0, weight=0.0)
    assert torch.equal(expected_free_energy(cost, unsure, temperature=1.0, weight=0.0).total, plain.total)

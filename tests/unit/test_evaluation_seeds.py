"""Seeds of evaluations never recur."""

from __future__ import annotations

from runtime.learning.judging.seeds import pair_seeds


def test_each_pair_candidate_incumbent_and_scenario_has_seeds_of_its_own() -> None:
    taken: set[int] = set()
    count = 0
    for root in (0, 7):
        for incumbent in ("greedy@0123456789ab", "maze@0123456789ab"):
            for candidate in ("maze@aaaaaaaaaaaa", "maze@bbbbbbbbbbbb"):
                taken |= set(pair_seeds(root, candidate, incumbent, range(160), taken=()).values())
                count += 160
    assert len(taken) == count


def test_seeds_are_the_same_each_time_and_do_not_depend_on_how_many_are_asked_for() -> None:
    first = pair_seeds(7, "maze@a", "maze@b", range(40), taken=())
    more = pair_seeds(7, "maze@a", "maze@b", range(80), taken=())
    assert {pair: more[pair] for pair in first} == first


def test_a_seed_that_another_session_of_the_log_had_is_drawn_again() -> None:
    free = pair_seeds(7, "maze@a", "maze@b", range(5), taken=())
    found = pair_seeds(7, "maze@a", "maze@b", range(5), taken={free[3]})
    assert found[3] != free[3]
    assert {pair: seed for pair, seed in found.items() if pair != 3} == {p: s for p, s in free.items() if p != 3}

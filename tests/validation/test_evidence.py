"""One record of all that speaks for and against the chosen try."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import (
    deflated_sharpe_ratio,
    effective_trials,
    evidence,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    superior_tries,
)


def noise(rows=400, tries=12, seed=0):
    names = [f"try {k}" for k in range(tries)]
    return pd.DataFrame(np.random.default_rng(seed).normal(0.0, 0.01, (rows, tries)), columns=names)


def best(returns):
    return (returns.mean() / returns.std()).idxmax()


def test_the_record_says_what_its_parts_say():
    returns = noise()
    chosen = best(returns)
    found, split = evidence(returns, chosen), probability_of_backtest_overfitting(returns)
    assert (found.pbo, found.degradation, found.probability_of_loss) == (split.pbo, split.slope, split.probability_of_loss)
    assert found.effective_trials == effective_trials(returns).count and found.n_tries == 12 and found.n_obs == 400
    assert found.p_value == superior_tries(returns).tries.loc[chosen, "p_value"] and found.spa == superior_tries(returns).spa_consistent
    known = {"n_obs": 400, "skew": found.skew, "kurtosis": found.kurtosis}
    again = probabilistic_sharpe_ratio(found.sharpe, **known, benchmark=found.expected_maximum)
    assert found.dsr == again < found.psr
    clusters = deflated_sharpe_ratio(found.sharpe, **known, n_trials=found.effective_trials, trials_std=found.trials_std)
    assert found.dsr <= clusters
    assert all(isinstance(value, (int, float)) for value in dataclasses.asdict(found).values())


def test_among_the_better_ones_nothing_is_said_of_the_chosen():
    """A try of a quite other kind that always wins would make choosing look safe, and says nothing of the one that is judged."""
    returns = noise()
    chosen = best(returns)
    alone = evidence(returns, chosen)
    beside = evidence(returns.assign(carry=np.random.default_rng(5).normal(0.002, 0.002, len(returns))), chosen)
    assert beside.pbo == alone.pbo > 0.2 and beside.dsr <= alone.dsr


def test_the_chosen_ones_own_record_is_all_of_it_and_one_ruined_try_spreads_nothing():
    returns = noise()
    chosen = best(returns)
    cut = evidence(returns.iloc[:200], chosen, own=returns[chosen])
    assert cut.n_obs == 400 and cut.sharpe == evidence(returns, chosen).sharpe != evidence(returns.iloc[:200], chosen).sharpe
    ruined = returns.assign(ruin=returns["try 1"] * 0.2 - 0.01)
    assert evidence(ruined, chosen).trials_std < 1.5 * evidence(returns, chosen).trials_std


def test_the_best_of_luck_passes_rarely_and_skill_passes():
    luck = [evidence(table, best(table)) for table in (noise(seed=seed) for seed in range(40))]
    assert np.mean([one.dsr > 0.95 for one in luck]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert np.mean([one.psr > 0.95 for one in luck]) > 0.3  # which is why it is deflated
    skill = noise()
    skill["try 5"] += 0.003
    found = evidence(skill, "try 5")
    assert found.dsr > 0.99 and found.pbo < 0.05 and found.p_value < 0.01 and found.still_needed == 0.0


def test_the_track_record_that_is_missing():
    returns = noise()
    returns["try 5"] += 0.0017 - returns["try 5"].mean()
    found = evidence(returns, "try 5")
    assert found.dsr < 0.95 and found.n_obs < found.minimum_track_record < math.inf
    assert found.still_needed == math.ceil(found.minimum_track_record - 400)
    known = {"skew": found.skew, "kurtosis": found.kurtosis, "benchmark": found.expected_maximum}
    enough = probabilistic_sharpe_ratio(found.sharpe, n_obs=400 + int(found.still_needed), **known)
    assert enough >= 0.95
    assert evidence(-returns - 0.01, "try 5").still_needed == math.inf


@pytest.mark.parametrize("likeness", [0.6, 0.9])
def test_the_best_of_one_cluster_was_chosen_too(likeness):
    """60 tries of one idea: one cluster, and still many chances; without them half of the best would look sure."""
    found = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        returns = np.sqrt(likeness) * rng.normal(size=(300, 1)) + np.sqrt(1 - likeness) * rng.normal(size=(300, 60))
        found.append(evidence(returns, int(best(pd.DataFrame(returns)))))
    assert all(one.effective_trials == 1 for one in found)
    assert np.mean([one.dsr > 0.95 for one in found]) <= 0.05 and np.mean([one.dsr for one in found]) == pytest.approx(0.5, abs=0.2)


def test_copies_of_a_try_deflate_nothing():
    returns = noise(tries=3)
    crowd = pd.concat([returns.add_suffix(f", again {k}") for k in range(10)], axis=1)
    one, other = evidence(returns, "try 1"), evidence(crowd, "try 1, again 0")
    assert (one.effective_trials, one.dsr) == (other.effective_trials, pytest.approx(other.dsr, rel=1e-9)) and other.n_tries == 30


def test_a_single_try_cannot_be_overfitted_and_passes_no_test_of_it():
    found = evidence(noise()[["try 0"]], "try 0")
    assert found.effective_trials == 1 and found.dsr == found.psr and math.isnan(found.pbo) and not found.pbo < 0.5


def test_a_try_that_never_moved_has_no_evidence():
    found = evidence(noise().assign(flat=0.0), "flat")
    assert all(math.isnan(value) for value in (found.sharpe, found.psr, found.dsr, found.minimum_track_record, found.still_needed))
    assert found.p_value == 1.0


def test_arrays_name_tries_by_number_and_wrong_names_are_refused():
    assert evidence(noise().to_numpy(), 3) == evidence(noise(), "try 3")
    with pytest.raises(UsageError, match="did you mean 'try 3'"):
        evidence(noise(), "tri 3")
    with pytest.raises(DataError, match="row 0"):
        evidence(noise().shift(), "try 3")

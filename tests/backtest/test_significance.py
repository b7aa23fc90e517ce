"""Timing against luck: knowledge is seen, its absence is not mistaken for it, and the p-value is what it says."""

import math

import numpy as np
import pandas as pd
import pytest
from made_results import COSTS, run, tape

from quantalpha.backtest import simulate
from quantalpha.backtest.significance import random_entry, shuffled
from quantalpha.errors import UsageError
from quantalpha.perp import Account, Costs, Stops

MONEY = {"account": Account(1000.0, 2.0), "costs": COSTS}


def holdings(index, seed=0):
    """Long, pause, short, pause ... of random lengths."""
    rng = np.random.default_rng(seed)
    values = np.repeat(np.tile([1.0, 0.0, -1.0, 0.0], len(index)), rng.integers(1, 12, 4 * len(index)))
    return pd.Series(values[: len(index)], index=index)


def test_knowledge_is_seen():
    bars = tape(1000)
    target = holdings(bars.index)
    knowing = tape(1000, drift=0.004 * target.shift(1, fill_value=0.0).to_numpy())
    found = random_entry(knowing, target, runs=99, **MONEY)
    assert found.p_value == 1 / 100 and found.observed > found.luck.max()


def test_p_value_is_the_corrected_share_of_better_runs():
    bars = tape(600)
    target = holdings(bars.index)
    found = random_entry(bars, target, runs=60, metric="total_return", seed=5, **MONEY)
    seeds = np.random.SeedSequence(5).spawn(60)
    luck = [simulate(bars, shuffled(target, seed), **MONEY).metrics()["total_return"] for seed in seeds]
    assert found.luck.tolist() == luck and found.observed == simulate(bars, target, **MONEY).metrics()["total_return"]
    assert found.p_value == (1 + sum(value >= found.observed for value in luck)) / 61


def test_p_values_of_luck_are_even():
    """Without knowledge every p-value is as likely as another: over 60 random walks mean 1/2 and few small ones."""
    found = []
    for seed in range(60):
        bars = tape(300, seed=seed)
        found.append(random_entry(bars, holdings(bars.index, seed), runs=19, seed=seed, **MONEY).p_value)
    assert np.mean(found) == pytest.approx(0.5, abs=3.5 * math.sqrt(1 / 12 / 60))
    assert np.mean(np.array(found) <= 0.05) < 0.15


def test_it_is_seeded_and_stops_apply_to_luck_too():
    bars = tape(400)
    target = holdings(bars.index)
    one, same, other = (random_entry(bars, target, runs=10, seed=seed, **MONEY) for seed in (0, 0, 1))
    assert one.luck.tolist() == same.luck.tolist() != other.luck.tolist()
    assert one.luck.tolist() != random_entry(bars, target, runs=10, stops=Stops(stop_loss=0.01), **MONEY).luck.tolist()


def test_nothing_traded_is_no_evidence():
    bars = tape(50)
    found = random_entry(bars, pd.Series(0.0, index=bars.index), runs=5, **MONEY)
    assert math.isnan(found.p_value) and math.isnan(found.observed) and np.isnan(found.luck).all()


def test_sizes_move_with_their_holding():
    """A target that changes in every bar stays one holding: shuffled, it trades no more often than it did."""
    index = tape(12).index
    target = pd.Series([0, 1, 1.5, 2, 0, 0, -1, -0.5, 0, 0, 0, 0.25], index=index, dtype=float)
    for seed in range(20):
        other = shuffled(target, seed).to_numpy()
        pieces = [piece[piece != 0].tolist() for piece in np.split(other, np.flatnonzero(np.diff(np.sign(other))) + 1)]
        assert sorted(piece for piece in pieces if piece) == [[-1.0, -0.5], [0.25], [1.0, 1.5, 2.0]]


def test_a_target_sized_in_every_bar_does_not_look_clever_for_being_cheap():
    """The sizes wander; if luck were to trade them bar by bar it would pay the costs that the candidate does not."""
    bars = tape(800, seed=8)
    side = holdings(bars.index, 2)
    target = side * (1.0 + 0.2 * np.sin(np.arange(800) / 30))
    dear = Costs(maker=0.0, taker=0.002, slippage=0.0, liquidation=0.0125)
    fees = [simulate(bars, path, account=Account(1000.0, 2.0), costs=dear).fills["fee"].sum() for path in (target, shuffled(target, 1))]
    assert fees[1] == pytest.approx(fees[0], rel=0.2)


def test_rows_said_once_are_bars_held():
    bars = tape(400)
    target = holdings(bars.index)
    changes = target[target.diff() != 0.0]
    one, same = (random_entry(bars, path, runs=10, **MONEY) for path in (target, changes))
    assert one.luck.tolist() == same.luck.tolist() and one.observed == same.observed


def test_unfit_choices_are_refused():
    bars = tape(50)
    target = holdings(bars.index)
    with pytest.raises(UsageError, match="runs"):
        random_entry(bars, target, runs=0, **MONEY)
    with pytest.raises(UsageError, match="did you mean 'sharpe_ratio'"):
        random_entry(bars, target, runs=1, metric="sharpe", **MONEY)
    with pytest.raises(UsageError, match="a Series"):
        random_entry(bars, target.to_frame("target").assign(limit=1.0), runs=1, **MONEY)
    assert run(bars, 1.0).trades.shape[0] == 1

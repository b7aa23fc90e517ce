"""Meta-labels by hand, and end to end: a second model learns when to follow a rule, and finds nothing where there is nothing."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import config, schema
from quantalpha.backtest.walk_forward import walk_forward_forecasts
from quantalpha.errors import DataError
from quantalpha.labels import barrier_volatility, cusum_events, meta_labels, rule_sides, side_at, triple_barrier
from quantalpha.models import fitter
from quantalpha.strategy.bets import bet_size

NAN = np.nan


def series(values, dtype=float):
    return pd.Series(values, schema.from_epoch_ms(np.arange(len(values)) * 3_600_000), dtype=dtype)


def test_sides_are_given_where_the_rule_turns_to_them():
    target = series([NAN, 0.5, 0.7, 0, 0, -0.1, 1, NAN, 1])
    np.testing.assert_array_equal(rule_sides(target), [NAN, 1, NAN, NAN, NAN, -1, 1, NAN, 1])
    np.testing.assert_array_equal(rule_sides(series([1.0, 1.0])), [1, NAN])


def test_sides_at_events():
    event = series([True, True, False, True, False, True, True, True, False], bool)
    np.testing.assert_array_equal(side_at(series([NAN, 0.5, 0.7, 0, 0, -0.1, 1, NAN, 1]), event), [NAN, 1, NAN, NAN, NAN, -1, 1, NAN, NAN])
    with pytest.raises(DataError, match="bool Series"):
        side_at(series([1.0, 1.0]), series([1.0, 0.0]))


def test_a_bet_is_good_where_it_gained_more_than_it_cost():
    rows = [(100, 100, 100, 100), (100, 113, 99, 110), (110, 111, 109, 109), (109, 110, 108, 110), (110, 110, 110, 110)]
    bars = pd.DataFrame(rows, series(range(5)).index, ["open", "high", "low", "close"], float).assign(volume=1.0)
    side = series([1, 1, -1, NAN, 1])
    levels = {"take_profit": 0.125, "stop_loss": 0.0625, "horizon": 2}
    table = meta_labels(bars, side, **levels)
    np.testing.assert_array_equal(table["label"], [1, 0, 0, NAN, NAN])  # the target; 110 to 110; 109 to 110, short
    assert table["barrier"].tolist()[:3] == ["take_profit", "time", "time"] and table["side"].equals(side)
    assert table["end_time"].equals(triple_barrier(bars, side=side, **levels)["end_time"])
    assert meta_labels(bars, side, cost=0.125, **levels)["label"].iloc[0] == 0


def tape(seed, edge, rows=12_000):
    """(bars, weather): returns follow the last bar's direction in fair weather (1) and turn against it in foul (-1), by `edge`
    volatilities; the weather lasts 100 bars on average and is known."""
    rng = np.random.default_rng(seed)
    weather = np.cumprod(np.where(rng.random(rows) < 0.01, -1.0, 1.0))
    noise, change = rng.standard_normal(rows), np.zeros(rows)
    for row in range(1, rows):
        change[row] = noise[row] + edge * weather[row - 1] * np.sign(change[row - 1])
    close = 100 * np.exp(np.cumsum(0.005 * change))
    open_ = np.r_[100.0, close[:-1]]
    prices = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close, "volume": 1.0}
    return pd.DataFrame(prices, schema.from_epoch_ms(np.arange(rows) * 3_600_000)), series(weather)


def judged(seed, edge):
    """Bets out of sample, DataFrame[gained, ret, size]: a rule follows the last bar, a second model that sees the weather sizes them."""
    bars, weather = tape(seed, edge)
    change = np.log(bars["close"]).diff()
    volatility = barrier_volatility(bars, window=50, horizon=1)
    side = side_at(change, cusum_events(bars["close"], volatility) != 0)
    table = meta_labels(bars, side, take_profit=1.0, stop_loss=1.0, horizon=4, volatility=volatility)
    noise = np.random.default_rng(seed).standard_normal(len(bars))
    features = pd.DataFrame({"weather": weather, "side": np.sign(change), "size": change.abs() / volatility, "noise": noise})
    params = config.load("demo", ["models.lightgbm.trees=60"])
    splits = config.Splits(scheme="sliding", train=5000, test=1000, embargo=0)
    walk = walk_forward_forecasts(features, table, splits, fitter("lightgbm", params.models))
    bets = table.assign(probability=walk.forecasts["p_up"]).dropna(subset=["label", "probability"])
    assert len(walk.folds) >= 5 and (walk.forecasts["p_down"] == 0).all()
    return pd.DataFrame({"gained": bets["label"] == 1, "ret": bets["ret"], "size": bet_size(bets["probability"])})


def gain_in_precision(bets):
    """(precision of the bets taken less that of all, its standard error)."""
    taken = bets["gained"][bets["size"] > 0]
    rate = bets["gained"].mean()
    return taken.mean() - rate, np.sqrt(rate * (1 - rate) * (1 / len(taken) - 1 / len(bets)))


def test_where_the_rule_works_at_times_the_second_model_learns_when():
    bets = judged(seed=1, edge=0.4)
    gain, error = gain_in_precision(bets)
    assert gain > 0.08 and gain > 5 * error
    taken = bets["size"] > 0
    assert 0.2 < taken.mean() < 0.8
    assert bets["ret"][taken].mean() > 0.001 > bets["ret"].mean()  # all bets together break about even
    assert np.average(bets["ret"], weights=bets["size"]) > bets["ret"][taken].mean()  # the surer, the larger


@pytest.mark.parametrize("seed", [1, 2])
def test_on_a_fair_tape_it_finds_nothing(seed):
    gain, error = gain_in_precision(judged(seed, edge=0.0))
    assert abs(gain) < 3 * error

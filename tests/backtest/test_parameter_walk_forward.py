"""Parameters by walk-forward: what a choice may know, what it costs to change, and that every look is written down."""

from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.backtest.parameter_walk_forward import walk_forward_parameters
from quantalpha.backtest.search import Search
from quantalpha.config import Splits
from quantalpha.errors import DataError, UsageError
from quantalpha.perp import Account, Costs, Stops
from quantalpha.strategy import ma_cross
from quantalpha.validation import sharpe_ratio
from quantalpha.validation.trials import Trials, data_hash

ACCOUNT, COSTS = Account(10_000.0, 2.0), Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)
SPLITS = Splits(scheme="sliding", train=400, test=100, embargo=0)
SPACE = {"fast": (2, 20, "int"), "slow": (25, 80, "int")}
SEARCH = Search(budget=16, method="grid")
YEARLY = 8760.0


def cross(bars, fast, slow):
    return ma_cross(bars["close"], fast, slow)


def never(bars, n=1):
    return pd.Series(0.0, index=bars.index)


def resting(bars, width):
    """Buys below the market where it fell, sells above where it rose."""
    side = -np.sign(bars["close"].diff(5)).fillna(0.0)
    return pd.DataFrame({"target": side, "limit": bars["close"] * (1 - side * width)})


def tape(n=820, seed=1):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=n)))
    open_ = np.r_[100.0, close[:-1]] * (1 + 0.001 * rng.normal(size=n))
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)
    return bars.assign(funding_rate=np.where(np.arange(n) % 8 == 0, 1e-4, 0.0))


@pytest.fixture
def walk(tmp_path):
    """walk_forward_parameters with everything but bars and strategy chosen."""
    given = {"splits": SPLITS, "search": SEARCH, "account": ACCOUNT, "costs": COSTS, "trials": Trials(tmp_path / "trials.db")}

    def walk(bars, strategy=cross, space=SPACE, **other):
        return walk_forward_parameters(bars, strategy, space, **given | other)

    walk.trials = given["trials"]
    return walk


def choices(found):
    return found.folds[["fast", "slow", "train_score", "plateau", "stability"]]


def test_the_result_is_one_account_that_follows_the_stitched_path(walk):
    bars = tape()
    found = walk(bars)
    assert len(found.folds) == 4
    pieces = [cross(bars, row.fast, row.slow).loc[row.test_start : row.test_end] for row in found.folds.itertuples()]
    pd.testing.assert_series_equal(found.target, pd.concat(pieces))
    assert found.target.index.equals(bars.index[400:800])
    by_hand = simulate(bars.iloc[400:800], found.target, account=ACCOUNT, costs=COSTS)
    pd.testing.assert_series_equal(found.result.equity, by_hand.equity)
    pd.testing.assert_frame_equal(found.result.fills, by_hand.fills)


def test_a_position_is_carried_over_and_a_change_of_parameters_is_paid_for(walk):
    """Parameters that only say which side: while the choice stays nothing trades, where it changes the account turns over, once."""
    bars = tape()
    drift = np.exp(0.002 * np.concatenate([np.arange(450), 450 - np.arange(370)]))  # up, then down
    bars[["open", "high", "low", "close"]] = bars[["open", "high", "low", "close"]].mul(drift, axis=0)

    def one_side(bars, side):
        return pd.Series(2.0 * side - 1.0, index=bars.index)

    found = walk(bars, one_side, {"side": (0, 1, "int")}, splits=Splits(scheme="sliding", train=200, test=100, embargo=0))
    assert found.folds["side"].tolist() == [1, 1, 1, 1, 0, 0]
    assert found.result.fills["time"].tolist() == [bars.index[201], bars.index[601]]
    assert found.result.fills["quantity"].iloc[1] < 0 and (found.result.fills["fee"] > 0).all()


def test_scores_are_those_of_accounts_of_the_window_alone(walk):
    bars = tape()
    found = walk(bars, stops=Stops(stop_loss=0.03))
    run = partial(simulate, account=ACCOUNT, costs=COSTS, stops=Stops(stop_loss=0.03))
    for number, row in enumerate(found.folds.itertuples()):
        target = cross(bars, row.fast, row.slow)
        for name, first, last in (
            ("train_score", number * 100, number * 100 + 400),
            ("test_score", 400 + number * 100, 500 + number * 100),
        ):
            alone = run(bars.iloc[first:last], target.iloc[first:last])
            assert getattr(row, name) == pytest.approx(sharpe_ratio(alone.returns, periods_per_year=YEARLY), rel=1e-12)
        assert (row.train_start, row.train_end) == (bars.index[number * 100], bars.index[number * 100 + 399])
        table = found.evaluated[found.evaluated["fold"] == number]
        assert len(table) == row.evaluated == 16
        assert row.plateau == table["plateau"].max() and row.train_score <= table["score"].max()
        assert row.efficiency == row.test_score / row.train_score if row.train_score > 0 else np.isnan(row.efficiency)
    train, test = found.folds["train_score"].mean(), found.folds["test_score"].mean()
    assert found.efficiency == test / train if train > 0 else np.isnan(found.efficiency)


@pytest.mark.parametrize("search", [SEARCH, Search(budget=12), Search(budget=12, rule="best", objective="calmar_ratio")])
@pytest.mark.parametrize("scheme", ["sliding", "expanding"])
@pytest.mark.parametrize("embargo", [0, 7])
def test_a_choice_knows_nothing_of_what_comes_after_its_training(walk, search, scheme, embargo):
    """Every bar after a fold's training is replaced: the fold's choice, and all before it, stay bit for bit."""
    bars, splits = tape(), Splits(scheme=scheme, train=400, test=100, embargo=embargo)
    found = walk(bars, search=search, splits=splits)
    other = tape(seed=2)
    for fold in range(len(found.folds)):
        last = bars.index.get_loc(found.folds["train_end"].iloc[fold])
        assert bars.index.get_loc(found.folds["test_start"].iloc[fold]) == last + 1 + embargo
        scrambled = pd.concat([bars.iloc[: last + 1], other.iloc[last + 1 :] * 3.0])
        again = walk(scrambled, search=search, splits=splits)
        pd.testing.assert_frame_equal(choices(found).iloc[: fold + 1], choices(again).iloc[: fold + 1])
        untouched = found.folds["test_end"] <= bars.index[last]
        pd.testing.assert_series_equal(found.folds["test_score"][untouched], again.folds["test_score"][untouched])
    assert not found.folds["test_score"].equals(again.folds["test_score"])


def test_a_strategy_that_looks_ahead_finds_nothing_ahead_of_a_window(walk):
    """The training windows end where the bars end that the strategy is given: a peeking strategy cannot see past them."""
    seen = Counter()

    def peek(bars, n):
        seen[len(bars)] += 1
        return np.sign(bars["close"].shift(-n) - bars["close"]).fillna(0.0)

    walk(tape(), peek, {"n": (1, 4, "int")})
    assert set(seen) == {400, 500, 600, 700, 800}


def test_indicators_are_warm_when_a_window_begins(walk):
    found = walk(tape(), space={"fast": (20, 20, "int"), "slow": (390, 390, "int")})
    assert (found.target != 0).all()


def test_every_set_that_was_scored_is_in_the_ledger_once(walk):
    bars = tape()
    found = walk(bars, search=Search(budget=12))
    table = walk.trials.frame()
    roles = Counter(context["role"] for context in table["context"])
    assert roles == {"train": len(found.evaluated), "test": len(found.folds)}
    assert set(table["strategy"]) == {"cross"} and set(table["study"]) == {"walk-forward"}
    walk(bars, search=Search(budget=12))
    assert walk.trials.count() == len(table)  # the same once more: nothing new was tried
    first = table[[context == {"fold": 0, "role": "train"} for context in table["context"]]]
    evaluated = found.evaluated[found.evaluated["fold"] == 0]
    assert set(first["data"]) == {data_hash(bars.iloc[:400])}
    scores = {(params["fast"], params["slow"]): score for params, score in zip(first["params"], first["sharpe_ratio"])}
    assert scores == {(row.fast, row.slow): row.score for row in evaluated.itertuples()}
    np.testing.assert_allclose(first["sharpe_per_bar"] * np.sqrt(YEARLY), first["sharpe_ratio"])
    assert (first["bars"] == 400).all() and first[["skewness", "kurtosis"]].notna().all(axis=None)
    walk(bars, search=Search(budget=12), costs=COSTS.stressed(2.0), study="dearer")
    assert walk.trials.count(study="dearer") == walk.trials.count() - len(table) > 0


def test_a_search_that_breaks_off_has_been_counted_until_then(walk):
    calls = []

    def breaks(bars, fast, slow):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return cross(bars, fast, slow)

    with pytest.raises(KeyboardInterrupt):
        walk(tape(), breaks)
    assert walk.trials.count() == 6


@pytest.mark.parametrize("rule", ["best", "plateau"])
def test_a_strategy_that_never_trades_is_undefined_and_no_error(walk, rule):
    found = walk(tape(), never, {"n": (1, 9, "int")}, search=Search(budget=5, method="grid", rule=rule))
    assert found.folds["n"].tolist() == [1, 1, 1, 1]
    assert found.folds[["train_score", "plateau", "stability", "test_score", "efficiency"]].isna().all(axis=None)
    assert np.isnan(found.efficiency) and (found.result.equity == 10_000.0).all()
    assert walk.trials.frame()["sharpe_ratio"].isna().all()


def test_a_strategy_without_parameters_is_judged_as_it_is(walk):
    found = walk(tape(), never, {})
    assert len(found.evaluated) == 4 and found.folds["evaluated"].tolist() == [1] * 4


def test_limit_orders_go_through_windows_and_stitching(walk):
    bars = tape()
    found = walk(bars, resting, {"width": (0.001, 0.01, "log")}, search=Search(budget=5, method="grid"))
    pieces = [resting(bars, row.width).loc[row.test_start : row.test_end] for row in found.folds.itertuples()]
    pd.testing.assert_frame_equal(found.target, pd.concat(pieces))
    assert (found.result.fills["reason"] == "limit").any()


def test_the_same_seed_gives_the_same_and_progress_is_told(walk):
    told = []
    first = walk(tape(), search=Search(budget=12), on_fold=told.append)
    again = walk(tape(), search=Search(budget=12))
    pd.testing.assert_frame_equal(first.folds, again.folds)
    pd.testing.assert_frame_equal(first.evaluated, again.evaluated)
    pd.testing.assert_frame_equal(pd.DataFrame(told), first.folds)


def test_too_few_bars_and_a_wrong_space_are_refused_before_anything_is_tried(walk):
    with pytest.raises(DataError, match="train 400 .* = 500 rows, but the data has 450"):
        walk(tape(450))
    with pytest.raises(UsageError, match="space: fast"):
        walk(tape(), space={"fast": (20, 2, "int")})
    assert walk.trials.count() == 0


def panel(bars, fast, slow):
    return pd.DataFrame({symbol: cross(table, fast, slow) / 3 for symbol, table in bars.items()}).fillna(0.0)


def test_several_symbols_share_one_account_and_may_come_and_go(walk):
    early, late = tape(seed=2).iloc[:560], tape(seed=3).iloc[450:]
    bars = {"ALL": tape(seed=1), "EARLY": early, "LATE": late}
    found = walk(bars, panel, search=Search(budget=4, method="grid"))
    assert len(found.folds) == 4 and set(found.target) == set(bars)
    targets = {symbol: [] for symbol in bars}
    for row in found.folds.itertuples():
        known = {symbol: table.loc[: row.test_end] for symbol, table in bars.items() if table.index[0] <= row.test_end}
        piece = panel(known, row.fast, row.slow).loc[row.test_start : row.test_end]
        for symbol in known:
            if bars[symbol].index[-1] >= row.test_start:
                targets[symbol].append(piece[symbol])
    traded = {symbol: table.iloc[:800].loc["2024-01-17T16:00Z":"2024-02-03T07:00Z"] for symbol, table in bars.items()}
    by_hand = simulate(traded, {symbol: pd.concat(parts) for symbol, parts in targets.items()}, account=ACCOUNT, costs=COSTS)
    pd.testing.assert_series_equal(found.result.equity, by_hand.equity)
    assert set(found.result.trades["symbol"]) == set(bars)
    assert walk.trials.count() == 4 * 4 + 4


def test_limits_and_symbols_go_together(walk):
    bars = {"A": tape(seed=1), "B": tape(seed=2)}

    def both(bars, width):
        return {symbol: resting(table, width).mul([0.5, 1.0]) for symbol, table in bars.items()}

    found = walk(bars, both, {"width": (0.001, 0.01, "log")}, search=Search(budget=3, method="grid"))
    assert found.target["A"].columns.tolist() == ["target", "limit"]
    assert set(found.result.fills["symbol"]) == {"A", "B"} and (found.result.fills["reason"] == "limit").any()


def test_no_symbol_at_all_is_refused(walk):
    with pytest.raises(DataError, match="no symbol"):
        walk({}, panel)

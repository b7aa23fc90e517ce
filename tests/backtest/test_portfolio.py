"""Several symbols in one account: gaps, ends, coins, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.errors import DataError, UsageError
from quantalpha.perp import Account, Costs, Instrument
from quantalpha.perp.portfolio import Portfolio

FREE = Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)
TAKER = Costs(maker=0.0, taker=0.001, slippage=0.01, liquidation=0.0)


def flat(closes, skip=()):
    """Hours whose open is the close before."""
    index = pd.date_range("2024-01-01", periods=len(closes), freq="h", tz="UTC", unit="ms", name="timestamp")
    close = pd.Series(closes, index=index, dtype=float)
    open_ = close.shift(fill_value=closes[0])
    bars = pd.DataFrame({"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close, "volume": 1.0})
    return bars.drop(index=index[list(skip)])


def test_a_delisted_symbol_is_closed_at_its_last_close():
    bars = {"A": flat([100.0] * 8), "B": flat([100.0, 100.0, 110.0, 120.0])}
    targets = pd.DataFrame({"A": 0.0, "B": 1.0}, index=bars["A"].index)
    result = simulate(bars, targets, account=Account(1000.0), costs=TAKER)
    bought, sold = result.fills.itertuples()
    assert (bought.reason, sold.reason) == ("order", "delisting") and sold.time == bars["B"].index[-1]
    assert sold.price == 120.0 and sold.slippage == 0.0 and sold.quantity == -bought.quantity
    assert sold.fee == pytest.approx(0.001 * 120.0 * bought.quantity)
    worth = 1000.0 - bought.fee + bought.quantity * (120.0 - 101.0) - sold.fee
    assert result.equity.iloc[3:].tolist() == pytest.approx([worth] * 5)
    assert result.trades["exit_reason"].tolist() == ["delisting"]


def test_the_end_of_all_bars_is_no_delisting():
    bars = {"A": flat([100.0] * 4), "B": flat([100.0] * 4)}
    result = simulate(bars, pd.DataFrame({"A": 0.5, "B": 0.5}, index=bars["A"].index), account=Account(1000.0), costs=FREE)
    assert result.fills["reason"].tolist() == ["order", "order"]


def test_what_a_delisted_symbol_is_told_asks_for_no_leverage():
    """Weights that always add up to one, over a universe that shrinks."""
    bars = {"A": flat([100.0] * 8), "B": flat([100.0] * 4)}
    index = bars["A"].index
    targets = pd.DataFrame({"A": np.where(np.arange(8) < 4, 0.5, 1.0), "B": np.where(np.arange(8) < 4, 0.5, 0.0)}, index=index)
    result = simulate(bars, targets, account=Account(1000.0, 1.0), costs=FREE)
    assert result.position.iloc[-1].tolist() == [10.0, 0.0]
    sparse = {"A": targets["A"], "B": targets["B"].iloc[:1]}
    assert simulate(bars, sparse, account=Account(1000.0, 1.0), costs=FREE).equity.equals(result.equity)


def test_an_exit_said_in_a_gap_is_decided_at_the_next_close():
    bars = {"A": flat([100.0] * 8), "B": flat([100.0] * 8, skip=[3, 4])}
    index = bars["A"].index
    targets = {"A": pd.Series(0.0, index=index[:1]), "B": pd.Series([1.0, 0.5, 0.0], index=index[[0, 3, 4]])}
    result = simulate(bars, targets, account=Account(1000.0), costs=FREE)
    assert result.fills["time"].tolist() == [index[1], index[6]] and result.position["B"].iloc[-1] == 0.0


def test_a_target_of_no_bar_at_all_is_refused():
    bars = {"A": flat([100.0] * 4)}
    stray = pd.Series([1.0], index=bars["A"].index[:1] + pd.Timedelta("30min"))
    with pytest.raises(DataError, match="target of A: 2024-01-01 00:30.*is not the open time of any bar"):
        simulate(bars, {"A": stray}, account=Account(1000.0), costs=FREE)
    with pytest.raises(DataError, match="expected one for each of A; found Series"):
        simulate(bars, stray, account=Account(1000.0), costs=FREE)


@pytest.mark.parametrize("symbols", [1, 2])
def test_under_a_band_few_rows_say_what_many_say(symbols):
    """A target held is rebalanced at every close, however often it is repeated."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 200)))
    bars = {name: flat(close.tolist()) for name in "AB"[:symbols]}
    said = pd.Series(np.repeat([1.5, -1.0, 0.0, 0.7], 50) / symbols, index=bars["A"].index)
    account = Account(10_000.0, 3.0, rebalance_band=0.05)
    dense = simulate(bars, dict.fromkeys(bars, said), account=account, costs=TAKER)
    sparse = simulate(bars, dict.fromkeys(bars, said[said.diff() != 0.0]), account=account, costs=TAKER)
    assert len(dense.fills) > 4 * symbols + 4  # more than the four changes
    pd.testing.assert_frame_equal(sparse.fills, dense.fills)
    if symbols == 1:
        one = simulate(bars["A"], said[said.diff() != 0.0], account=account, costs=TAKER)
        assert one.equity.tolist() == dense.equity.tolist()


@pytest.mark.parametrize("aims", [(3.0, 0.0), (0.6, 0.6), (-0.1, 0.0)])
def test_coins_are_neither_bought_on_credit_nor_sold_short(aims):
    bars = {"A": flat([100.0] * 4), "B": flat([100.0] * 4)}
    account = Account(1000.0, 5.0, instruments={name: Instrument(spot=True) for name in "AB"})
    targets = pd.DataFrame([aims] * 4, columns=["A", "B"], index=bars["A"].index)
    with pytest.raises(UsageError, match="spot instruments must be at least 0 and together at most 1"):
        simulate(bars, targets, account=account, costs=FREE)
    with pytest.raises(UsageError, match="spot instruments must be at least 0 and together at most 1"):
        Portfolio(("A", "B"), account, FREE).decide(dict(zip("AB", aims)), {"A": 100.0, "B": 100.0})


def test_instruments_of_nobody_are_refused_and_the_others_keep_the_accounts_terms():
    bars = {"A": flat([100.0] * 4)}
    target = pd.DataFrame({"A": 0.55}, index=bars["A"].index)
    for account in (Account(1000.0, instruments={"a": Instrument()}),):
        with pytest.raises(UsageError, match="account.instruments: 'a' is not traded here, only A"):
            simulate(bars, target, account=account, costs=FREE)
        with pytest.raises(UsageError, match="account.instruments: 'a' is not traded here"):
            simulate(bars["A"], target["A"], account=account, costs=FREE)
    with pytest.raises(UsageError, match="A: expected an Instrument, found dict"):
        Account(1000.0, instruments={"A": {"lot": 1.0}})
    coin = Account(1000.0, lot=1.0, instruments={"A": Instrument(spot=True)})
    assert simulate(bars, target, account=coin, costs=FREE).fills["quantity"].tolist() == [5.0]


def test_the_portfolio_refuses_what_the_ledger_refuses():
    portfolio = Portfolio(("A",), Account(1000.0), FREE)
    with pytest.raises(DataError, match="mark_open of A must be a positive price"):
        portfolio.open_bar(0, {"A": 100.0}, {"A": -100.0}, {"A": 0.0})
    with pytest.raises(DataError, match="funding_rate of A must be a fraction"):
        portfolio.open_bar(0, {"A": 100.0}, {}, {"A": np.inf})
    with pytest.raises(DataError, match="limit of A must be a positive price"):
        portfolio.decide({"A": 1.0}, {"A": 100.0}, {"A": -5.0})


def test_a_wallet_below_zero_is_no_money_for_the_next_symbol():
    """Funding took more than the wallet held; the open profit of A still covers it. What B may buy follows from the equity."""
    bars = {"A": flat([100.0, 100.0, 110.0, 110.0, 110.0]), "B": flat([100.0] * 5)}
    bars["A"] = bars["A"].assign(funding_rate=[0.0, 0.0, 0.0, 0.02, 0.0])
    targets = pd.DataFrame({"A": 90.0, "B": [0.0, 0.0, 0.0, 1.0, 1.0]}, index=bars["A"].index)
    account = Account(1000.0, 100.0, margin_mode="isolated", brackets=((0.0, 0.001),))
    result = simulate(bars, targets, account=account, costs=FREE)
    assert result.funding["amount"].sum() == pytest.approx(-900.0 * 110.0 * 0.02)
    equity = 1000.0 + 900.0 * 10.0 - 1980.0
    assert result.equity.iloc[3] == pytest.approx(equity)
    assert result.fills["quantity"].tolist() == pytest.approx([900.0, equity / 100.0, -equity / 100.0])
    assert result.fills["reason"].iloc[-1] == "liquidation"  # all the money is A's open profit: B stands on nothing of its own


def test_a_target_at_the_limit_may_miss_it_by_rounding():
    bars = flat([100.0] * 4)
    above = pd.Series(3.0 * (1.0 + 1e-12), index=bars.index)
    assert len(simulate(bars, above, account=Account(1000.0, 3.0), costs=FREE).fills) == 1
    with pytest.raises(UsageError, match="exceeds account.leverage 3"):
        simulate(bars, above * 1.001, account=Account(1000.0, 3.0), costs=FREE)


def test_every_kind_of_array_is_compiled_for_once():
    from quantalpha.perp import clock

    bars = flat([100.0] * 4)
    target = pd.Series([0, 1, 1, 0], index=bars.index)
    simulate(bars, target.astype(float), account=Account(1000.0), costs=FREE)
    known = len(clock.run.signatures)
    for table in (bars.astype("float32"), bars.astype(int), pd.DataFrame(bars.to_numpy(), bars.index, bars.columns), bars[::-1][::-1]):
        simulate(table, target, account=Account(1000.0), costs=FREE)
        simulate(table.assign(mark=100.0, funding_rate=0.0), target.iloc[1:], account=Account(1000.0), costs=FREE)
    assert len(clock.run.signatures) == known


@pytest.mark.parametrize("table", [lambda bars: bars.iloc[:0], lambda bars: bars.assign(close="dear")])
def test_no_bars_and_words_are_refused_in_one_line(table):
    bars = table(flat([100.0] * 4))
    with pytest.raises(DataError, match="expected at least one bar|must hold numbers"):
        simulate(bars, pd.Series(0.0, index=bars.index), account=Account(1000.0), costs=FREE)
    with pytest.raises(DataError, match="expected at least one bar|must hold numbers"):
        simulate({"A": bars}, {"A": pd.Series(0.0, index=bars.index)}, account=Account(1000.0), costs=FREE)

"""The plain simulator of tests/reference.py and the compiled one agree to 1e-9: fills, reasons, bars, funding, equity, everything on."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from reference import Reference
from tapes import OHLCV, path, tape, with_limits
from terms import costs, rules, stops

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Instrument, Slippage, Stops
from quantalpha.schema import from_epoch_ms

REASONS = {"order", "limit", "stop_loss", "trailing_stop", "take_profit", "time_stop", "liquidation", "delisting"}
FILL = ["quantity", "price", "fee", "realised", "reason", "position", "slippage"]
PAYMENT = ["amount", "rate", "mark", "quantity"]
CASH = 10_000.0
DUST = 1e-9  # notional of what is ordered with the 1e-15 that rounding leaves of a lost account
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # no shrinking: a seed is as small as a tape gets, and this simulator is slow


def agree(bars, target, **terms):
    """Both simulators; the compiled one's result."""
    expected, result = Reference(**terms).run(bars, target), simulate(bars, target, **terms)
    symbols = [None] if isinstance(bars, pd.DataFrame) else list(bars)

    def found(frame):
        symbol = frame["symbol"].map(symbols.index) if "symbol" in frame else 0
        table = frame.assign(bar=result.equity.index.get_indexer(frame["time"]), symbol=symbol)
        return table.sort_values(["bar", "symbol"], kind="stable")

    def wanted(rows, names):
        table = pd.DataFrame(rows, columns=["bar", "symbol", *names])
        table["symbol"] = [symbols.index(row[1]) for row in rows]
        return table.sort_values(["bar", "symbol"], kind="stable")

    def same(ours, theirs, keys, numbers):
        assert ours[keys].to_numpy().tolist() == theirs[keys].to_numpy().tolist()
        for name in numbers:
            np.testing.assert_allclose(ours[name], theirs[name].astype(float), rtol=1e-9, atol=1e-9 * CASH, err_msg=name)

    fills = [table[(table["quantity"] * table["price"]).abs() > DUST] for table in (found(result.fills), wanted(expected.fills, FILL))]
    stops = terms["stops"] or Stops()
    if stops.stop_loss == stops.trailing_stop:  # one level but for the last bit of an average entry; the golden cases have the tie
        fills = [table.replace({"reason": {"trailing_stop": "stop_loss"}}) for table in fills]
    same(*fills, ["bar", "symbol", "reason"], ["quantity", "price", "fee", "realised", "position", "slippage"])
    same(found(result.funding), wanted(expected.payments, PAYMENT), ["bar", "symbol"], PAYMENT)
    np.testing.assert_allclose(result.equity, expected.equity, rtol=1e-9, atol=1e-9 * CASH)
    return result


markets = {
    "seed": st.integers(0, 2**32 - 1),
    "volatility": st.sampled_from([0.002, 0.02, 0.08]),
    "grid": st.sampled_from([0.0, 0.5]),
    "funding": st.sampled_from([1e-3, 0.02]),
    "columns": st.sampled_from([[], ["funding_rate"], ["mark"], ["funding_rate", "mark"]]),
    "limited": st.booleans(),
}


def one_symbol(*, seed, volatility, grid, funding, columns, limited, leverage, n=150):
    """Bars and target of one symbol."""
    rng = np.random.default_rng(seed)
    bars = tape(rng, n, volatility, grid=grid, funding=funding)
    target = path(rng, bars.index, [0.0, 1.0, -1.0, 0.5, -0.3, 0.55, leverage, -leverage])
    if limited:
        target = with_limits(rng, target, bars, volatility, grid=grid)
    return bars[OHLCV + columns], target


@settings(max_examples=150, deadline=None, phases=PHASES)
@given(
    market=st.fixed_dictionaries(markets), leverage=st.sampled_from([1.0, 3.0, 20.0, 90.0]), terms=st.fixed_dictionaries(rules),
    costs=costs, stops=stops,
)  # fmt: skip
def test_one_symbol(market, leverage, terms, costs, stops):
    bars, target = one_symbol(**market, leverage=leverage)
    agree(bars, target, account=Account(CASH, leverage, **terms), costs=costs, stops=stops)


def several_symbols(*, seed, volatility, grid, funding, columns, limited, leverage, symbols, missing, spot, n=100):
    """Bars and targets by symbol, whose |targets| never exceed the leverage together; the last symbol is a coin where `spot`.

    Where bars are missing some symbols end early, and targets are said in the gaps too.
    """
    rng, targets = np.random.default_rng(seed), {}
    frames = {s: tape(rng, n, volatility / (k + 1), grid=grid, funding=funding, missing=missing) for k, s in enumerate("ABC"[:symbols])}
    bars = {s: frame.iloc[: rng.choice([n, n // 2]) if missing else n][OHLCV + columns] for s, frame in frames.items()}
    index = pd.DatetimeIndex(sorted(set().union(*(table.index for table in bars.values()))))
    for k, symbol in enumerate(bars):
        coin, frame = spot and k == symbols - 1, frames[symbol].reindex(index).ffill().bfill()
        size = min(rng.choice([0.3, 1.0, leverage]), 0.99 * leverage / symbols, 0.5 if coin else np.inf)
        target = path(rng, index, size * np.array([0.0, 1.0, 0.5, 0.3] if coin else [0.0, 1.0, -1.0, 0.5, -0.3]))
        targets[symbol] = with_limits(rng, target, frame, volatility, grid=grid) if limited else target
    return bars, targets


@settings(max_examples=150, deadline=None, phases=PHASES)
@given(
    market=st.fixed_dictionaries(markets), leverage=st.sampled_from([2.0, 5.0, 20.0]), symbols=st.integers(1, 3), own=st.booleans(),
    missing=st.sampled_from([0.0, 0.1]), spot=st.booleans(), terms=st.fixed_dictionaries(rules), stops=stops,
    costs=st.lists(costs, min_size=3, max_size=3),
)  # fmt: skip
def test_several_symbols(market, leverage, symbols, missing, spot, own, terms, costs, stops):
    bars, targets = several_symbols(**market, leverage=leverage, symbols=symbols, missing=missing, spot=spot)
    names = list(bars)
    instruments = {names[0]: Instrument(lot=0.01, tick=0.25, min_notional=500.0, brackets=((0.0, 0.02), (3_000.0, 0.05)))} if own else {}
    if spot:
        instruments[names[-1]] = Instrument(lot=0.01, spot=True)
    account = Account(CASH, leverage, **terms, instruments=instruments or None)
    agree(bars, targets, account=account, costs=dict(zip(names, costs)), stops=stops)


def test_the_tapes_bring_every_kind_of_fill():
    """Also liquidations of several at once, fills of both sides, fills in one bar as it opens and inside it."""
    account, costs = Account(CASH, 20.0, limit_bars=3), Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125)
    market = {"volatility": 0.02, "grid": 0.5, "funding": 1e-3, "columns": ["funding_rate", "mark"], "leverage": 20.0}
    seen, together, twice = Counter(), 0, 0
    for seed in range(30):
        stops = Stops(*[(None, None, None, None), (0.05, 0.05, 0.1, 5), (0.2, 0.3, 0.05, None)][seed % 3])
        bars, target = one_symbol(**market, seed=seed, limited=seed % 2 == 0)
        one = agree(bars, target, account=account, costs=costs, stops=stops)
        bars, targets = several_symbols(**market, seed=seed, limited=seed % 2 == 1, symbols=3, missing=0.05, spot=seed % 5 == 0)
        spot = {"C": Instrument(spot=True)} if seed % 5 == 0 else None
        terms = {"account": Account(CASH, 20.0, limit_bars=3, instruments=spot), "costs": costs, "stops": stops}
        several = agree(bars, targets, **terms)
        seen += Counter(one.fills["reason"]) + Counter(several.fills["reason"])
        together += (several.liquidations.groupby("time")["symbol"].nunique() > 1).sum()
        twice += one.fills["time"].duplicated().sum()
        assert (one.fills["quantity"] > 0).any() and (one.fills["quantity"] < 0).any()
    assert set(seen) == REASONS and seen.pop("delisting") > 20 and min(seen.values()) > 50, seen
    assert together >= 3 and twice > 20, (together, twice)


@pytest.mark.real
@pytest.mark.parametrize("leverage", [1.0, 4.0])
def test_a_month_of_real_bars(shared_data, leverage):
    bars = pd.read_parquet(shared_data / "binance_um_BTCUSDT_5m.parquet").set_index("timestamp")[OHLCV]
    bars = bars.loc["2024-03-01":"2024-03-31"].copy()
    funding = pd.read_parquet(shared_data / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp")["funding_rate"]
    bars["funding_rate"] = funding.reindex(bars.index, fill_value=0.0)
    trend = np.sign(bars["close"].rolling(36).mean() - bars["close"].rolling(288).mean()).dropna() * leverage
    target = pd.DataFrame({"target": trend, "limit": bars["close"].loc[trend.index] * (1 - 2e-4 * np.sign(trend))})
    costs = Costs(maker=0.0002, taker=0.0005, slippage=Slippage(0.00001, 0.8, 250.0), liquidation=0.0125)
    account = Account(CASH, leverage, lot=0.001, tick=0.1, min_notional=100.0, limit_bars=6)
    result = agree(bars, target, account=account, costs=costs, stops=Stops(0.02, 0.03, 0.025, 288))
    assert len(result.fills) > 50 and len(result.funding) > 40


def test_a_limit_at_which_nothing_is_left_is_a_liquidation_at_the_open():
    """A limit order due at an open beyond bankruptcy: the venue was there first."""
    rows = [[100] * 4, [100] * 4, [70] * 4]
    bars = pd.DataFrame(rows, columns=OHLCV[:4], index=from_epoch_ms(np.arange(3) * 3_600_000), dtype=float).assign(volume=1.0)
    target = pd.DataFrame({"target": [5.0, 6.0], "limit": [np.nan, 80.0]}, index=bars.index[:2])
    result = agree(bars, target, account=Account(CASH, 10.0), costs=Costs(0.0, 0.0, 0.001, 0.0), stops=None)
    assert result.fills["reason"].tolist() == ["order", "liquidation"] and result.equity.iloc[-1] == 0.0

"""A second simulator, slow and plain, written from the design's text alone, must agree with the compiled one to 1e-9.

It keeps no closed form: the liquidation price is found by bisection on equity = maintenance margin, with the bracket looked up by notional.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Stops
from quantalpha.schema import from_epoch_ms

HOUR = 3_600_000


class Reference:
    def __init__(self, account, costs, stops):
        self.account, self.costs, self.stops = account, costs, stops
        self.cash, self.position, self.entry = account.initial_cash, 0.0, 0.0
        self.fills, self.payments, self.equity = [], [], []

    def margin(self):
        if self.account.margin_mode == "isolated":
            return min(abs(self.position) * self.entry / self.account.leverage, self.cash)
        return self.cash

    def profit(self, price):
        return self.position * (price - self.entry)

    def maintenance(self, notional):
        amount, before = 0.0, 0.0
        for floor, rate in self.account.brackets:
            if floor > notional:
                break
            amount, before = amount + floor * (rate - before), rate
        return notional * before - amount

    def covered(self, price):
        return self.margin() + self.profit(price) > self.maintenance(abs(self.position) * price)

    def liquidation_level(self):
        """The price at which cover is lost, by bisection; None where no price does it."""
        low, high = 1e-12, 1e12
        if self.covered(low) == self.covered(high):
            return None
        for _ in range(300):
            middle = (low + high) / 2
            if self.covered(middle) == self.covered(low):
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def trade(self, bar, quantity, price, fee, reason):
        realised = 0.0
        after = self.position + quantity
        if abs(after) < 1e-11:
            after = 0.0
        if self.position * quantity < 0:
            closed = min(abs(quantity), abs(self.position)) * np.sign(self.position)
            realised = closed * (price - self.entry)
            if reason != "order":
                realised = max(realised, -self.margin())
        if self.position * after <= 0:
            self.entry = price if after else 0.0
        elif abs(after) > abs(self.position):
            self.entry = (self.position * self.entry + quantity * price) / after
        self.position = after
        self.cash += realised
        fee = min(fee, max(self.cash + self.profit(price), 0.0))
        self.cash -= fee
        self.fills.append((bar, quantity, price, fee, realised, reason))

    def close_all(self, bar, price, fee_rate, reason):
        fee = fee_rate * abs(self.position) * price
        if reason == "liquidation":
            fee = min(fee, max(self.margin() + self.profit(price), 0.0))
        self.trade(bar, -self.position, price, fee, reason)

    def inside(self, bar, o, h, l):
        long = self.position > 0
        side = 1 if long else -1
        levels = []
        if self.stops.stop_loss is not None:
            levels.append((self.entry * (1 - side * self.stops.stop_loss), "stop_loss"))
        liquidation = self.liquidation_level()
        if liquidation is not None:
            levels.append((liquidation, "liquidation"))
        hit = [(level, name) for level, name in levels if (l <= level if long else h >= level)]
        if hit:
            level, name = (max if long else min)(hit, key=lambda pair: pair[0])
            price = (min if long else max)(level, o)
            if name == "stop_loss":
                self.close_all(bar, price * (1 - side * self.costs.slippage), self.costs.taker, name)
            else:
                self.close_all(bar, price, self.costs.liquidation, name)
        elif self.stops.take_profit is not None:
            level = self.entry * (1 + side * self.stops.take_profit)
            if h >= level if long else l <= level:
                self.close_all(bar, (max if long else min)(level, o), self.costs.maker, "take_profit")

    def wanted(self, target, mark, close):
        equity = self.cash + max(self.profit(mark), -self.margin())
        quantity = target * equity / close
        if self.account.lot:
            return np.sign(quantity) * np.floor(abs(quantity) / self.account.lot * (1 + 1e-12)) * self.account.lot
        return quantity

    def run(self, bars, target):
        decided, order = 0.0, 0.0
        for i, bar in enumerate(bars.itertuples()):
            rate = getattr(bar, "funding_rate", 0.0)
            if rate and self.position:
                known = "mark" in bars and i > 0 and np.isfinite(bars["mark"].iloc[i - 1])
                mark = bars["mark"].iloc[i - 1] if known else bar.open
                amount = -self.position * mark * rate
                self.cash += amount
                self.payments.append((i, amount))
            if order:
                price = bar.open * (1 + np.sign(order) * self.costs.slippage)
                if self.position and self.margin() + self.profit(price) <= 0:
                    self.close_all(i, bar.open, self.costs.liquidation, "liquidation")
                else:
                    self.trade(i, order, price, self.costs.taker * abs(order) * price, "order")
            order = 0.0
            if self.position:
                self.inside(i, bar.open, bar.high, bar.low)
            mark = bar.mark if "mark" in bars and np.isfinite(bar.mark) else bar.close
            self.equity.append(self.cash + max(self.profit(mark), -self.margin()))
            new = target.get(bar.Index)
            if new is not None and new != decided:
                decided = new
                order = self.wanted(new, mark, bar.close) - self.position
                order = 0.0 if abs(order) < 1e-11 else order
        return self


def agree(bars, target, account, costs, stops):
    expected = Reference(account, costs, stops).run(bars, target)
    result = simulate(bars, target, account=account, costs=costs, stops=stops)
    np.testing.assert_allclose(result.equity, expected.equity, rtol=1e-9, atol=1e-9 * account.initial_cash)
    assert list(result.fills["reason"]) == [fill[-1] for fill in expected.fills]
    assert list(bars.index.get_indexer(result.fills["time"])) == [fill[0] for fill in expected.fills]
    for name, k in (("quantity", 1), ("price", 2), ("fee", 3), ("realised", 4)):
        found = [fill[k] for fill in expected.fills]
        np.testing.assert_allclose(result.fills[name], found, rtol=1e-9, atol=1e-9 * account.initial_cash, err_msg=name)
    np.testing.assert_allclose(result.funding["amount"], [paid for _, paid in expected.payments], rtol=1e-9, atol=1e-9)
    return result


def random_bars(rng, n, volatility):
    """Bars with gaps between close and open, funding every 8 bars and a mark that misses now and then."""
    close = 100 * np.exp(np.cumsum(rng.standard_t(3, n) * volatility))
    open_ = np.append(100.0, close[:-1]) * np.exp(rng.standard_t(3, n) * volatility * (rng.random(n) < 0.3))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, volatility, n)))
    low = np.minimum(open_, close) / (1 + np.abs(rng.normal(0, volatility, n)))
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=from_epoch_ms(np.arange(n) * HOUR))
    bars["funding_rate"] = np.where(np.arange(n) % 8 == 0, rng.normal(0, 1e-3, n), 0.0)
    bars["mark"] = np.where(rng.random(n) < 0.1, np.nan, close * (1 + rng.normal(0, volatility / 10, n)))
    return bars


def random_target(rng, index, leverage):
    """Piecewise constant, decided on some of the bars only."""
    levels = rng.choice([0.0, 1.0, -1.0, 0.5, -0.3, leverage, -leverage], len(index))
    path = pd.Series(levels[np.maximum.accumulate(np.arange(len(index)) * (rng.random(len(index)) < 0.3))], index=index)
    return path[rng.random(len(index)) < 0.8]


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    volatility=st.sampled_from([0.002, 0.02, 0.08]),
    leverage=st.sampled_from([1.0, 3.0, 20.0, 100.0]),
    margin_mode=st.sampled_from(["cross", "isolated"]),
    lot=st.sampled_from([0.0, 0.001, 0.25, 1.0]),
    columns=st.sampled_from([[], ["funding_rate"], ["mark"], ["funding_rate", "mark"]]),
    stops=st.tuples(st.sampled_from([None, 0.01, 0.2]), st.sampled_from([None, 0.015, 0.3])),
)
def test_agrees_with_the_plain_simulator(seed, volatility, leverage, margin_mode, lot, columns, stops):
    rng = np.random.default_rng(seed)
    bars = random_bars(rng, 150, volatility)[["open", "high", "low", "close", "volume", *columns]]
    account = Account(10_000.0, leverage, margin_mode, lot=lot)
    costs = Costs(maker=-0.0001, taker=0.0005, slippage=0.0003, liquidation=0.0125)
    agree(bars, random_target(rng, bars.index, leverage), account, costs, Stops(*stops))


def test_random_cases_meet_every_kind_of_fill():
    rng, seen = np.random.default_rng(5), set()
    for _ in range(20):
        bars = random_bars(rng, 150, 0.02)
        costs = Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)
        for stops in (Stops(), Stops(0.05, 0.05)):
            seen |= set(agree(bars, random_target(rng, bars.index, 10.0), Account(1e6, 10.0), costs, stops).fills["reason"])
    assert seen == {"order", "stop_loss", "take_profit", "liquidation"}


@pytest.mark.real
@pytest.mark.parametrize("leverage", [1.0, 4.0])
def test_agrees_on_a_month_of_real_bars(shared_data, leverage):
    bars = pd.read_parquet(shared_data / "binance_um_BTCUSDT_5m.parquet").set_index("timestamp")[["open", "high", "low", "close", "volume"]]
    bars = bars.loc["2024-03-01":"2024-03-31"].copy()
    funding = pd.read_parquet(shared_data / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp")["funding_rate"]
    bars["funding_rate"] = funding.reindex(bars.index, fill_value=0.0)
    trend = np.sign(bars["close"].rolling(36).mean() - bars["close"].rolling(288).mean()).dropna() * leverage
    costs = Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)
    result = agree(bars, trend, Account(10_000.0, leverage, lot=0.001), costs, Stops(0.02, 0.03))
    assert len(result.fills) > 50 and len(result.funding) > 50

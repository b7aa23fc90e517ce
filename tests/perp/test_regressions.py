"""Faults that users of other programs reported, each with the reported figures: what went wrong there, what the ledger answers.

freqtrade issues 13102, 13263 and 13517 (funding), vectorbt issue 187 (a short that loses more than everything).
"""

import json

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Fill, FundingPayment, Ledger
from quantalpha.schema import from_epoch_ms

HOUR = 3_600_000
FREE = Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)


def flat_bars(prices, rates):
    """Bars that stand still, by the hour; rates: funding settled at each open."""
    index = from_epoch_ms(np.arange(len(prices)) * HOUR)
    columns = {name: np.array(prices, dtype=float) for name in ("open", "high", "low", "close")}
    return pd.DataFrame(columns | {"volume": 1.0, "funding_rate": np.array(rates, dtype=float)}, index=index)


def lived(bars, positions, account, costs, after=lambda ledger: ledger):
    """The ledger through `bars` with `positions` wanted at their closes, `after` each step in its place; (ledger, events, targets)."""
    ledger, events, targets = Ledger(account, costs), [], []
    for k, (bar, wanted) in enumerate(zip(bars.to_dict("records"), positions)):
        events += ledger.open_bar(k * HOUR, bar["open"], None, bar["funding_rate"])
        ledger = after(ledger)
        events += ledger.inside_bar(k * HOUR, bar["open"], bar["high"], bar["low"])
        ledger.close_bar(bar["close"], None)
        targets.append(wanted * bar["close"] / ledger.equity)
        ledger.decide(targets[-1], bar["close"], None)
        ledger = after(ledger)
    return ledger, events, targets


def check(bars, targets, account, costs, *, pnl, funding):
    """The simulator's trades tell the same story, each payment once."""
    result = simulate(bars, pd.Series(targets, index=bars.index), account=account, costs=costs)
    assert result.trades["pnl"].sum() == pytest.approx(pnl, abs=1e-9) == result.equity.iloc[-1] - account.initial_cash
    assert result.trades["funding"].sum() == pytest.approx(funding, abs=1e-9) == result.funding["amount"].sum()
    return result


def test_funding_is_not_counted_again_at_each_partial_exit():
    """freqtrade 13102: a short of 749.6 from 1.3914 that paid 10.53 of funding leaves in three parts.

    Reported: sums of 10.72 and 17.33 after two exits and 10.97 in the end, right; but the exits' own profits as +0.18, -3.92 and -6.35,
    the whole funding taken from each. A fee of 0.045 % gives these figures.
    """
    prices, exits = [1.3914, 1.3914, 1.3914, 1.36155, 1.35491, 1.36790], [374.8, 187.4, 187.4]
    funding, account = -10.53, Account(1100.0, 5.0, lot=0.1)
    bars = flat_bars(prices, [0, 0, funding / (749.6 * 1.3914), 0, 0, 0])
    costs = Costs(maker=0.0, taker=0.00045, slippage=0.0, liquidation=0.0)
    ledger, events, targets = lived(bars, [-749.6, -749.6, -374.8, -187.4, 0, 0], account, costs)
    fills = [event for event in events if isinstance(event, Fill)]
    assert [fill.quantity for fill in fills] == [-749.6, *exits]
    entry_fee = 0.00045 * 1.3914
    profits = [fill.realised - fill.fee - entry_fee * fill.quantity for fill in fills[1:]]
    assert np.cumsum(profits)[:2] == pytest.approx([10.72, 17.33], abs=0.005)
    assert sum(profits) + funding == pytest.approx(10.97, abs=0.005) == ledger.cash - 1100.0
    assert [event.amount for event in events if isinstance(event, FundingPayment)] == pytest.approx([funding])
    reported = [profit + funding for profit in profits]
    assert reported == pytest.approx([0.18, -3.92, -6.35], abs=0.02)
    assert sum(reported) == pytest.approx(10.97 + 2 * funding, abs=0.005)  # twice too much is gone there
    check(bars, targets, account, costs, pnl=ledger.cash - 1100.0, funding=funding)


def test_an_addition_does_not_pay_for_the_time_before_it():
    """freqtrade 13263 (dry run): when an order adds to a position, the funding since the last order is worked out on the larger size.

    Here 1 at 100 for three settlements of 0.1 %, then 3: right is 3 * 0.1 + 2 * 0.3; theirs counts 3 * 0.3 for the first three.
    """
    rates, account = [0, 0, 0.001, 0.001, 0.001, 0.001, 0.001, 0], Account(1000.0, lot=1.0)
    bars = flat_bars([100.0] * 8, rates)
    ledger, events, targets = lived(bars, [1, 1, 1, 3, 3, 3, 0, 0], account, FREE)
    payments = [event for event in events if isinstance(event, FundingPayment)]
    assert [payment.quantity for payment in payments] == [1, 1, 1, 3, 3]
    assert [payment.amount for payment in payments] == pytest.approx([-0.1, -0.1, -0.1, -0.3, -0.3], abs=1e-12)
    assert ledger.cash == pytest.approx(1000.0 - 0.9, abs=1e-9) != pytest.approx(1000.0 - (3 * 0.3 + 2 * 0.3), abs=1e-9)
    assert events[3].time == events[4].time and isinstance(events[4], Fill)  # at one open: paid on what was held, then added
    check(bars, targets, account, FREE, pnl=-0.9, funding=-0.9)


def test_funding_survives_an_exit_that_is_looked_at_again_and_again():
    """freqtrade 13517: an exit in three fills, looked at again to fill in a fee, forgets its funding of -8.11888781.

    Reported: 95.61796836 at first, 103.737 afterwards. Here the state is saved and taken up again around every step, several times.
    """

    def again(ledger):
        for _ in range(3):
            saved = json.loads(json.dumps(ledger.state()))
            ledger = Ledger(account, FREE)
            ledger.restore(saved)
        return ledger

    profit, funding, size = 103.73685617, -8.11888781, 3000.0
    account = Account(10_000.0, lot=1.0)
    bars = flat_bars([1.0, 1.0, 1.0, *[1.0 + profit / size] * 4], [0, 0, -funding / size, 0, 0, 0, 0])
    ledger, events, targets = lived(bars, [size, size, 2000.0, 1000.0, 0.0, 0.0, 0.0], account, FREE, after=again)
    assert [event.quantity for event in events if isinstance(event, Fill)] == [size, -1000.0, -1000.0, -1000.0]
    assert ledger.cash - 10_000.0 == pytest.approx(95.61796836, abs=1e-8)
    result = check(bars, targets, account, FREE, pnl=95.61796836, funding=funding)
    for _ in range(3):
        result.__dict__.pop("trades")
        assert result.trades["pnl"].sum() == pytest.approx(95.61796836, abs=1e-8)


def test_a_short_never_loses_more_than_everything():
    """vectorbt 187: a short reported at -256 %, which then lives to see the price recover. Here it is liquidated on the way, for good."""
    import vectorbt

    close = [100.0, 100.0, 200.0, 456.0, 100.0]
    naive = pd.date_range("2021-07-07", periods=5, freq="h")
    given = {"size_type": "amount", "direction": "both", "init_cash": 1000.0, "fees": 0.0, "slippage": 0.0, "freq": "1h"}
    theirs = vectorbt.Portfolio.from_orders(pd.Series(close, index=naive), [np.nan, -10.0, np.nan, np.nan, np.nan], **given).value()
    assert theirs.iloc[2:].tolist() == pytest.approx([0.0, -2560.0, 1000.0])

    bars = flat_bars(close, [0.0] * 5).assign(open=[100.0, 100.0, 100.0, 200.0, 456.0])
    bars = bars.assign(high=bars[["open", "close"]].max(axis=1), low=bars[["open", "close"]].min(axis=1))
    result = simulate(bars, pd.Series(-1.0, index=bars.index), account=Account(1000.0, brackets=((0.0, 0.01),)), costs=FREE)
    level = (1000.0 + 10 * 100.0) / (10 * 1.01)  # 1000 - 10 * (P - 100) = 0.01 * 10 * P
    assert result.fills[["quantity", "price", "reason"]].to_numpy().tolist() == [
        [-10.0, 100.0, "order"],
        [10.0, pytest.approx(level), "liquidation"],
    ]
    assert result.equity.tolist() == pytest.approx([1000.0, 1000.0, *[1000.0 - 10 * (level - 100.0)] * 3])
    assert (result.equity >= 0.0).all()

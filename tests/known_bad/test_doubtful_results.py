"""Results with a planted fault must be found out by the critic, each by its own name; a sound one passes without a word."""

import numpy as np
import pandas as pd
import pytest
from made_results import bars_of, run, tape, together

from quantalpha.backtest.critic import Finding, critique, disputed_trades
from quantalpha.errors import DataError
from quantalpha.perp import Costs, Stops

N = 3 * 8760  # three years of hours
FUNDING = np.where(np.arange(N) % 8 == 0, 1e-6, 0.0)  # hardly any
DRIFT = 0.0004  # of a bar, the position's way: an honest edge beside a deviation of 0.005


def holdings(n=N, longest=24):
    """Long, pause, short, pause ... of random lengths, three years of them."""
    rng = np.random.default_rng(0)
    values = np.repeat(np.tile([1.0, 0.0, -1.0, 0.0], n), rng.integers(1, longest, 4 * n))
    return values[:n]


def market(target, drift=DRIFT, seed=3):
    """Bars that move the position's way, `drift` a bar (one number or one a bar), from the bar after the decision on."""
    held = np.append(0.0, target[:-1])
    return tape(len(target), seed=seed, drift=np.broadcast_to(drift, len(target)) * held, scale=0.005, funding_rate=FUNDING[: len(target)])


def begins(target):
    """The bars of the first move of each long."""
    return np.flatnonzero((target[1:] == 1.0) & (target[:-1] != 1.0)) + 2


def codes(result, **choices):
    return {finding.code for finding in critique(result, **choices)}


@pytest.fixture(scope="module")
def sound():
    target = holdings()
    return run(market(target), target)


def test_a_sound_result_passes_without_findings(sound):
    assert critique(sound) == []
    assert critique(sound, disputed=pd.Series(np.arange(N) % 1000 == 0, index=sound.index)) == []


def test_findings_are_a_table_severe_ones_first(sound):
    found = critique(run(tape(300), 1.0, costs=Costs(0.0, 0.0, 0.0, 0.0)))
    table = pd.DataFrame(found)
    assert list(table.columns) == ["severity", "code", "message", "values"] and len(table) > 2
    assert table["severity"].is_monotonic_increasing and set(table["severity"]) == {"severe", "warning"}
    assert all(isinstance(finding, Finding) and "\n" not in finding.message for finding in found)


def test_nothing_traded():
    assert codes(run(tape(100), 0.0)) == {"no_trades"}


def test_a_loss():
    target = holdings()
    assert "no_profit" in codes(run(market(target, -DRIFT), target))


def test_few_trades_over_a_short_time():
    target = holdings(400)
    assert {"few_trades", "short_sample"} <= codes(run(market(target, 0.004), target))


def test_years_that_cannot_tell_the_sharpe_from_luck():
    target = holdings()
    found = [finding for finding in critique(run(market(target, 0.00025, seed=3), target)) if finding.code == "short_sample"]
    assert found and found[0].values["years"] == pytest.approx(3.0) and found[0].values["years_needed"] > 3.0


def test_a_leak():
    """The target knows the bar it trades."""
    bars = tape(N, scale=0.005)
    leaky = np.sign(bars["close"] - bars["open"]).shift(-1).fillna(0.0)
    assert "implausible_sharpe" in codes(run(bars, leaky, costs=Costs(0.0, 1e-5, 0.0, 0.0125)))


def test_one_lucky_trade():
    target = holdings()
    drift = np.full(N, DRIFT / 2)
    drift[begins(target)[40]] = 1.2
    found = {finding.code: finding for finding in critique(run(market(target, drift), target))}
    lucky = found["lucky_trade"].values
    assert lucky["best"] == pytest.approx(np.exp(1.2) - 1, rel=0.05) and lucky["without"] == pytest.approx(lucky["total"] - lucky["best"])
    assert {"one_month", "one_period"} <= set(found)


def test_a_few_lucky_trades():
    """Ten trades of a thousand bring it all, no single one half of it."""
    target = holdings()
    drift = np.full(N, DRIFT / 4)
    drift[begins(target)[20:520:50]] = 0.2
    found = {finding.code: finding for finding in critique(run(market(target, drift), target))}
    assert found["lucky_trades"].values["trades"] == 10.0 and found["lucky_trades"].values["without"] < 0.0 and "lucky_trade" not in found


def test_a_curve_that_went_flat():
    target = holdings()
    drift = np.where(np.arange(N) < 0.4 * N, 2 * DRIFT, DRIFT / 3)
    found = codes(run(market(target, drift), target))
    assert "flat_curve" in found and not {"one_period", "one_month"} & found


def test_all_in_one_period_and_one_month():
    target = holdings()
    drift = np.where((np.arange(N) >= 9000) & (np.arange(N) < 9700), 12 * DRIFT, DRIFT / 2)
    assert {"one_period", "one_month"} <= codes(run(market(target, drift), target))


def test_no_costs(sound):
    target = holdings()
    assert codes(run(market(target, DRIFT / 2), target, costs=Costs(0.0, 0.0, 0.0, 0.0))) == {"free_trading"}


def test_a_perpetual_without_funding(sound):
    target = holdings()
    assert codes(run(market(target).drop(columns="funding_rate"), target)) == {"no_funding"}
    assert "no_funding" not in codes(run(tape(40), [1.0] * 30 + [0.0] * 10))  # not held for long enough to tell


def test_costs_that_take_all_and_costs_that_would():
    target = holdings()
    bars = market(target)
    dear, dearer = Costs(0.0, 0.0008, 0.0003, 0.0125), Costs(0.0, 0.004, 0.0003, 0.0125)
    assert "thin_edge" in codes(run(bars, target, costs=dear)) and "cost_exceeds_gross" not in codes(run(bars, target, costs=dear))
    found = {finding.code: finding.values for finding in critique(run(bars, target, costs=dearer))}
    assert {"no_profit", "cost_exceeds_gross"} <= set(found) and "thin_edge" not in found
    assert found["cost_exceeds_gross"]["net_at_0"] > 0.0 > found["cost_exceeds_gross"]["net_at_1"]


def test_a_liquidation():
    target = holdings()
    bars = market(target)
    bars.iloc[begins(target)[40], bars.columns.get_loc("low")] *= 0.5
    found = {finding.code: finding for finding in critique(run(bars, target * 2.0))}
    assert found["liquidated"].values == {"liquidations": 1.0} and found["liquidated"].severity == "severe"


def test_a_hold_in_disguise():
    """Out of the market for one bar in fifty."""
    target = (np.arange(N) % 50 > 0).astype(float)
    bars = tape(N, drift=0.0001, scale=0.005, seed=2, funding_rate=FUNDING)
    assert codes(run(bars, target)) == {"one_sided"}
    assert "one_sided" in codes(run(tape(N, drift=-0.0001, scale=0.005, seed=2), -target))


def test_a_result_that_depends_on_what_came_first_inside_the_bar():
    """Every second bar reaches 2 % up and down: the stop is counted, the take-profit may have been first."""
    bars = bars_of([[100, 102, 98, 100], 100] * 300)
    result = run(bars, np.tile([0.0, 1.0], 300), stops=Stops(stop_loss=0.01, take_profit=0.015))
    found = {finding.code: finding for finding in critique(result)}
    doubt = found["intrabar"].values
    assert doubt["trades"] == list(range(len(result.trades)))
    swing = ((100.03 * 1.015 - result.trades["exit_price"]) * result.trades["quantity"]).sum()
    assert doubt["swing"] == pytest.approx(swing, rel=1e-9)
    narrow = run(bars_of([[100, 101.2, 98, 100], 100] * 300), np.tile([0.0, 1.0], 300), stops=Stops(stop_loss=0.01, take_profit=0.015))
    assert "intrabar" not in codes(narrow)


def test_a_short_that_depends_on_what_came_first_inside_the_bar():
    bars = bars_of([[100, 102, 98, 100], 100] * 300)
    result = run(bars, np.tile([0.0, -1.0], 300), stops=Stops(stop_loss=0.01, take_profit=0.015))
    assert "intrabar" in codes(result)


def test_several_symbols_are_looked_at_each_by_its_own_bars():
    """The long is in doubt inside its bars, the short in quiet ones is not; the fills of both may stand in disputed bars."""
    wild = run(bars_of([[100, 102, 98, 100], 100] * 300), np.tile([0.0, 1.0], 300), stops=Stops(stop_loss=0.01, take_profit=0.015))
    calm = run(bars_of([100, 100] * 300), np.tile([-1.0, 0.0], 300), stops=Stops(stop_loss=0.01, take_profit=0.015))
    both = together(calm=calm, wild=wild)
    found = {finding.code: finding.values for finding in critique(both)}
    assert found["intrabar"]["trades"] == np.flatnonzero(both.trades["symbol"] == "wild").tolist()
    third = pd.Series(True, index=both.index[[2]])  # the wild one's first trade fills in bar 2, the calm one's first ends there
    assert disputed_trades(both, third)["symbol"].tolist() == ["calm", "wild"]


def test_a_result_that_depends_on_disputed_bars():
    """The jump that made the result stands in bars that are in doubt."""
    target = holdings()
    first = begins(target)[40]
    drift = np.full(N, DRIFT / 2)
    drift[first] = 0.5
    result = run(market(target, drift), target)
    trade = result.trades[(result.trades["entry_time"] <= result.index[first]) & (result.trades["exit_time"] > result.index[first])]
    disputed = pd.Series(True, index=[trade["exit_time"].item()])
    found = next(finding for finding in critique(result, disputed=disputed) if finding.code == "disputed_bars")
    assert found.values["trades"] == trade.index.tolist() and found.values["pnl"] == pytest.approx(trade["pnl"].item())
    assert found.values["net_without"] == pytest.approx(result.equity.iloc[-1] - 1000.0 - trade["pnl"].item())


def test_disputed_trades_are_those_with_a_fill_in_such_a_bar(sound):
    disputed = pd.Series(np.arange(N) % 7 == 0, index=sound.index)
    bad = set(sound.index[disputed.to_numpy()])
    expected = [k for k, trade in enumerate(sound.trades.itertuples()) if trade.entry_time in bad or trade.exit_time in bad]
    assert disputed_trades(sound, disputed).index.tolist() == expected
    assert disputed_trades(sound, disputed & False).empty
    with pytest.raises(DataError, match="no bar of the result"):
        disputed_trades(sound, disputed.set_axis(disputed.index + pd.Timedelta("1min")))

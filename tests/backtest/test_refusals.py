"""What a user gets wrong is refused in one line that says what to do."""

import numpy as np
import pandas as pd
import pytest
from made_results import COSTS, run, tape

from quantalpha.backtest import simulate, sweep
from quantalpha.backtest.critic import critique
from quantalpha.errors import QuantalphaError
from quantalpha.perp import Account, Stops, brackets_for
from quantalpha.strategy import fixed_risk, kelly, volatility_target

BARS = tape(40)
FLAT = pd.Series(0.0, index=BARS.index)
GOOD = {"account": Account(1000.0), "costs": COSTS}


def limited(price):
    return pd.DataFrame({"target": 1.0, "limit": price}, index=BARS.index)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: simulate(BARS, limited(np.inf), **GOOD), "limit must be a positive price .NaN: at market., found inf"),
        (lambda: simulate(BARS, limited(0.0), **GOOD), "limit must be a positive price .NaN: at market., found 0"),
        (lambda: simulate(BARS, FLAT, **GOOD | {"account": 10_000}), "account: expected an Account, found int"),
        (lambda: simulate(BARS, FLAT, **GOOD, stops=0.05), "stops: expected Stops or None, found float"),
        (lambda: simulate(None, FLAT, **GOOD), "bars: expected a DataFrame of bars, found NoneType"),
        (lambda: simulate(BARS.reset_index(), FLAT, **GOOD), "use set_index on the column of open times"),
        (lambda: simulate(pd.concat([BARS, BARS[["close"]]], axis=1), FLAT, **GOOD), "column 'close' is there twice"),
        (lambda: sweep({"A": BARS}, {"a": FLAT}, **GOOD), "bars: expected a DataFrame of bars, found dict"),
        (lambda: sweep(BARS, FLAT, **GOOD), "found one Series; use simulate"),
        (lambda: sweep(BARS, {"bold": FLAT + 9.0}, **GOOD), "target bold.*exceeds account.leverage 1"),
        (lambda: Account(1000.0, brackets="BTCUSDT"), r"brackets_for\('BTCUSDT'\) gives one"),
        (lambda: Account(1000.0, leverage=200.0), r"expected a number in \[1, 125\]"),
        (lambda: brackets_for("BTC/USDT:USDT"), "expected the venue's own symbol such as BTCUSDT"),
        (lambda: brackets_for("btcusdt"), "expected the venue's own symbol such as BTCUSDT"),
        (lambda: volatility_target(FLAT, BARS["close"].iloc[:9], annual=0.2), "31 times.*at which the other series has none"),
        (lambda: volatility_target(FLAT, BARS["close"], annual=20), "0.2 is 20 %"),
        (lambda: volatility_target(FLAT, BARS), "expected a Series, found DataFrame; of bars take"),
        (lambda: kelly(FLAT, BARS["close"].iloc[:9]), "31 times"),
        (lambda: fixed_risk(FLAT, BARS["close"].iloc[:9]), "31 times"),
    ],
)
def test_one_line(call, words):
    with pytest.raises(QuantalphaError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_largest_leverage_is_allowed():
    assert Account(1000.0, leverage=125.0).leverage == 125.0


def test_funding_in_percent_is_named():
    bars = tape(400, funding_rate=np.where(np.arange(400) % 8 == 0, 0.01, 0.0))
    assert "odd_funding" in {finding.code for finding in critique(run(bars, 1.0))}


def test_a_result_says_what_it_is_in_a_line():
    result = run(BARS, [1.0] * 20 + [0.0] * 20, stops=Stops())
    assert repr(result).startswith("Result(one symbol, 1970-01-01 00:00:00+00:00 to ") and repr(result).endswith("1 trades)")
    several = simulate({"A": BARS, "B": BARS}, {"A": FLAT, "B": FLAT}, **GOOD)
    with pytest.raises(QuantalphaError, match=r"take legs\[symbol\].final"):
        _ = several.final

"""How much: pure functions from targets to targets (signed leverage known at each bar's close), so that they compose:

    volatility_target(trend(bars), bars["close"], annual=0.2, cap=2.0)

Spans are in days of 24 hours, whatever the bar; a year has 365. Sizes change with the market: give the account a rebalance band.
"""

import numpy as np
import pandas as pd

from quantalpha.strategy.parts import STILL, check_same_times, check_that, covered

YEAR = pd.Timedelta(days=365)
MOST_VOLATILE = 5.0  # a year: beyond it somebody means percent


def realised_volatility(close: pd.Series, *, halflife: float = 42.0) -> pd.Series:
    """Annualised volatility known at each close: root of the exponentially weighted mean of (log return)^2 / (its length in years).

    halflife: days; 42 is the paper's centre of mass of 60. NaN until one half-life has passed. 0.6 is 60 % a year.
    Source: Moskowitz, Ooi and Pedersen, "Time series momentum" (2012), section 2.4, with the mean taken as zero.
    """
    check_that(0 < halflife < np.inf, "sizing", "halflife above 0 days", halflife)
    years = close.index.to_series().diff() / YEAR
    rate = np.log(close).diff() ** 2 / years
    mean = rate.ewm(halflife=pd.Timedelta(days=halflife), times=close.index).mean()
    return np.sqrt(mean.where(covered(close.index, halflife))).rename("volatility")


def volatility_target(target: pd.Series, close: pd.Series, *, annual: float = 0.2, halflife: float = 42.0, cap: float = 1.0) -> pd.Series:
    """target * annual / realised volatility, never beyond +-cap; 0 until the volatility is known.

    annual: wanted volatility of a full target, a fraction a year. Source: Moskowitz, Ooi and Pedersen (2012).
    """
    expected = "annual and cap above 0, annual a fraction (0.2 is 20 %)"
    check_that(0 < annual < MOST_VOLATILE and 0 < cap < np.inf, "volatility_target", expected, annual, cap)
    check_same_times("volatility_target", target, close)
    volatility = realised_volatility(close, halflife=halflife)
    return _sized(target, annual / volatility.where(volatility > 0), cap)


def kelly(
    target: pd.Series, close: pd.Series, *, window: float = 365.0, fraction: float = 0.5, cost: float = 0.0, cap: float = 1.0
) -> pd.Series:
    """The target times the fractional Kelly leverage of its own last `window` days, shrunk for the error of the estimate.

    With r the target's return a bar (target a bar ago * simple close-to-close return - `cost` * size of its change before), m and s^2 its
    mean and variance over the n bars of the window and t = m sqrt(n) / s:

        leverage = fraction * (m / s^2) * t^2 / (1 + t^2)        for m > 0, else 0; the product never beyond +-cap

    m / s^2 maximises E log wealth for small r (Kelly 1956; Thorp, "The Kelly criterion in blackjack, sports betting, and the stock market",
    2006). Of the estimate bet k m / s^2, growth k E[m] mu / s^2 - k^2 E[m^2] / (2 s^2) is largest at k = mu^2 / (mu^2 + s^2 / n), which is
    t^2 / (1 + t^2) with m put for mu: the shrinkage of Baker and McHale, "Optimal betting under parameter uncertainty" (2013), for a
    normal return. It is 1/2 at t = 1 and 0.8 at t = 2. 0 until the window has passed.

    cost: fee and slippage a side, a fraction of the notional traded; without it the edge of a busy strategy is taken for more than it is.
    """
    check_that(0 < window < np.inf and 0 < cap < np.inf, "kelly", "window (days) and cap above 0", window, cap)
    check_that(0 < fraction <= 1, "kelly", "0 < fraction <= 1", fraction)
    check_that(0 <= cost < 1, "kelly", "cost in [0, 1)", cost)
    check_same_times("kelly", target, close)
    earned = target.shift() * close.pct_change() - cost * target.diff().abs().shift()
    trailing = earned.fillna(0.0).rolling(pd.Timedelta(days=window))
    mean, variance = trailing.mean(), trailing.var()
    full = mean.clip(lower=0.0) / variance.where(variance > STILL**2)
    squared_t = mean**2 * trailing.count() / variance.where(variance > STILL**2)
    leverage = fraction * full * squared_t / (1 + squared_t)
    return _sized(target, leverage.where(covered(target.index, window)), cap)


def fixed_risk(target: pd.Series, distance: float | pd.Series, *, risk: float = 0.01, cap: float = 1.0) -> pd.Series:
    """target * risk / distance, never beyond +-cap: a full target stopped out at `distance` from its entry loses `risk` of the equity.

    distance: of the stop from the price, as a fraction of it (as `Stops.stop_loss`), known at the close; a Series is read at the close
    that decides the entry and kept while the target keeps its side. Without a positive distance there is no position.
    risk: fraction of the equity, before fees, slippage and gaps. Source: the fixed fractional size of Vince, "Portfolio Management
    Formulas" (1990).
    """
    check_that(0 < risk < 1 and 0 < cap < np.inf, "fixed_risk", "0 < risk < 1 and cap above 0", risk, cap)
    if not isinstance(distance, pd.Series):
        check_that(0 < distance < np.inf, "fixed_risk", "distance above 0", distance)
        distance = pd.Series(float(distance), index=target.index)
    check_same_times("fixed_risk", target, distance)
    side = np.sign(target.to_numpy())
    began = np.maximum.accumulate(np.where(np.diff(side, prepend=0.0) != 0, np.arange(len(side)), 0))
    at_entry = distance.where(distance > 0).reindex(target.index).iloc[began].set_axis(target.index)
    return _sized(target, risk / at_entry, cap)


def cap_exposure(targets: pd.DataFrame, *, symbol: float = np.inf, gross: float = np.inf, net: float = np.inf) -> pd.DataFrame:
    """Targets (a column a symbol) within limits: each first within +-symbol, then all of a row made smaller in proportion until the sum of
    their sizes is at most `gross` and the size of their sum at most `net`."""
    check_that(symbol > 0 and gross > 0 and net > 0, "cap_exposure", "symbol, gross and net above 0", symbol, gross, net)
    capped = targets.clip(-symbol, symbol)
    factor = np.minimum(_room(gross, capped.abs().sum(axis=1)), _room(net, capped.sum(axis=1).abs()))
    return capped.mul(factor, axis=0)


def _room(limit: float, used: pd.Series) -> pd.Series:
    """The factor that brings `used` down to `limit`; 1 where it already is."""
    return (limit / used.where(used > limit)).fillna(1.0)


def _sized(target: pd.Series, leverage: pd.Series, cap: float) -> pd.Series:
    """target * leverage within +-cap; 0 where the leverage is not known."""
    return (target * leverage).fillna(0.0).clip(-cap, cap).rename("target")

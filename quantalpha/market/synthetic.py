"""A seeded perpetual-futures tape for demos and tests: realistic in shape, fair or predictable by a known amount. It is not market data.

Model, per bar of length dt (all shocks independent, z Student-t(5) scaled to unit variance, u and e standard normal):

    r[t] = sigma[t] * (-sqrt(edge) * c[t] + sqrt(1 - edge) * z[t])        simple return, close to close
    sigma[t]^2 ~ h[t] * regime[t]^2 * season[t]^2                         scaled to ANNUAL_VOLATILITY over the tape
    h[t+1] = 1 - A - B + (A * z[t]^2 + B) * h[t]                          volatility clustering (Bollerslev 1986, GARCH(1,1))
    regime                                                                Markov chain calm / normal / stormy (Hamilton 1989)
    c[t+1] = phi * c[t] + sqrt(1 - phi^2) * (L * z[t] + sqrt(1 - L^2) * u[t]),  phi = exp(-dt / 1 day)
    premium[t] = 0.0001 + 0.0006 * c[t+1] + 0.0001 * e[t]                 perpetual over index, at the bar's close
    funding = P + clamp(0.0001 - P, -0.0005, 0.0005), P = mean premium of the last 8 h    Binance's rule

`c` is crowding: it rises after rises, lifts premium and funding, and (edge > 0) prices fall back from it, which is what Schmeling,
Schrimpf and Todorov ("Crypto carry", BIS working paper 1087, 2023) find in the real market. It is known at each bar's open and shows in
past returns, volume and funding. With edge = 0 it moves only funding and volume: r is then symmetric around zero given any past, so no
function of the past predicts its sign, which is why regimes switch volatility and never drift. Highs and lows are the extremes of a
Brownian bridge from open to close. One bar per tape falls by CRASH; a few stretches of bars are missing.
"""

from zlib import crc32

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.errors import UsageError, did_you_mean

ANNUAL_VOLATILITY = 0.70
CRASH = -0.15
LARGEST_RETURN = 0.20  # a bar's return is cut here, on both sides
A, B = 0.05, 0.93
LOADING = 0.6  # L: how much of crowding's shocks are return shocks
REGIMES = (0.6, 1.0, 1.7)  # volatility multipliers
REGIME_DAYS = 20.0  # mean stay
LEVELS = {"BTCUSDT": 30_000.0, "ETHUSDT": 2_000.0}
OTHER_LEVEL = 100.0
HOURLY_TURNOVER = 3e8  # quote currency
FUNDING_MS = 8 * timeframe.UNITS["h"]


def synthetic_bars(symbol: str, params: config.Synthetic) -> pd.DataFrame:
    """Bars of `symbol` on a grid of `params.bars` opens, less the missing ones; the same bits for the same (symbol, params).

    Columns: open high low close volume quote_volume trades taker_buy_volume mark funding_rate, all float64; prices are whole ticks.
    `params.edge[symbol]` is the share of a bar's return variance that its past predicts.
    """
    if symbol not in params.edge:
        raise UsageError(f"synthetic.edge: no synthetic tape for {symbol!r}; {did_you_mean(symbol, params.edge)}")
    rng = {name: np.random.default_rng([params.seed, crc32(f"{symbol}/{name}".encode())]) for name in ("path", "volume", "gaps")}
    step = timeframe.milliseconds(params.timeframe)
    opens = timeframe.floor(int(params.start.timestamp() * 1000), params.timeframe) + step * np.arange(params.bars)
    level = LEVELS.get(symbol, OTHER_LEVEL)
    z, sigma, crowding, returns = _returns(rng["path"], opens, step, params.edge[symbol])
    prices, premium = _prices(rng["path"], level, returns, sigma, crowding)
    volumes = _volumes(rng["volume"], prices, z, sigma, crowding[:-1], HOURLY_TURNOVER * step / timeframe.UNITS["h"] / level)
    bars = pd.DataFrame(prices | volumes, index=schema.from_epoch_ms(opens))[[*schema.REQUIRED, *schema.OPTIONAL[:4]]]
    bars = bars[_present(rng["gaps"], len(bars))]
    return bars.assign(funding_rate=_funding(opens, step, premium, schema.epoch_ms(bars.index)))


def _returns(rng, opens, step, edge):
    """Shocks z[n], volatility per bar sigma[n], crowding c[n+1] and simple returns r[n] (one of them the crash)."""
    n = opens.size
    z = rng.standard_t(5, n) * np.sqrt(3 / 5)
    crash = int(rng.integers(n // 2, int(0.7 * n)))
    z[crash] = -8.0
    u, first = rng.standard_normal(n), rng.standard_normal()
    h, crowding = _recursions(z, u, first, np.exp(-step / timeframe.UNITS["d"]))
    sigma = np.sqrt(h) * _regimes(rng, n, step) * _season(opens)
    sigma *= ANNUAL_VOLATILITY * np.sqrt(step / timeframe.YEAR_MS / np.mean(sigma**2))
    returns = sigma * (np.sqrt(1 - edge) * z - np.sqrt(edge) * crowding[:-1])
    returns = np.clip(returns, -LARGEST_RETURN, LARGEST_RETURN)
    returns[crash] = CRASH
    return z, sigma, crowding, returns


def _recursions(z, u, first, phi):
    """h[n] and c[n+1]: values at t are known before bar t. Shocks beyond 8 deviations feed back as 8."""
    fed = np.clip(z, -8, 8)
    growth = (A * fed**2 + B).tolist()
    push = (np.sqrt(1 - phi**2) * (LOADING * fed + np.sqrt(1 - LOADING**2) * u)).tolist()
    h, c = [1.0], [first]
    for g, p in zip(growth, push):
        h.append(1 - A - B + g * h[-1])
        c.append(phi * c[-1] + p)
    return np.array(h[:-1]), np.array(c)


def _regimes(rng, n, step):
    """Volatility multiplier per bar: stays REGIME_DAYS on average, then moves to one of the others."""
    leave = rng.random(n) < step / (REGIME_DAYS * timeframe.UNITS["d"])
    state = np.cumsum(np.where(leave, rng.integers(1, len(REGIMES), n), 0)) % len(REGIMES)
    return np.array(REGIMES)[state]


def _season(times):
    """Intraday and weekly factor: busiest at 15:00 UTC, weekends at four fifths."""
    hour = times % timeframe.UNITS["d"] / timeframe.UNITS["h"]
    weekday = (times // timeframe.UNITS["d"] + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    return (1 + 0.25 * np.cos(2 * np.pi * (hour - 15) / 24)) * np.where(weekday >= 5, 0.8, 1.0)


def _prices(rng, level, returns, sigma, crowding):
    """Open, high, low, close and mark per bar, in whole ticks (mark: 8 decimals), and the premium at each close."""
    n = returns.size
    digits = 5 - int(np.floor(np.log10(level)))  # 30,000 trades in ticks of 0.1
    close = np.round(level * np.cumprod(1 + returns), digits)
    open_ = np.round(np.r_[level, close[:-1]] + rng.integers(-1, 2, n) * 10.0**-digits, digits)
    middle, half = np.log(open_ * close) / 2, np.log(close / open_) / 2
    reach_up, reach_down = np.sqrt(half**2 - sigma**2 * np.log(rng.random((2, n))) / 2)  # maximum of a Brownian bridge
    high = np.maximum(np.round(np.exp(middle + reach_up), digits), np.maximum(open_, close))
    low = np.minimum(np.round(np.exp(middle - reach_down), digits), np.minimum(open_, close))
    mark = np.round(close * (1 + 1e-4 * rng.standard_normal(n)), 8)
    premium = 1e-4 + 6e-4 * crowding[1:] + 1e-4 * rng.standard_normal(n)
    return {"open": open_, "high": high, "low": low, "close": close, "mark": mark}, premium


def _volumes(rng, prices, z, sigma, crowding, typical):
    """Volume in base currency (steps of 0.001), its quote value, trade count and the share bought by takers."""
    n = z.size
    busy = (sigma / sigma.mean()) ** 0.8 * (0.6 + 0.5 * np.abs(z)) * (1 + 0.2 * np.abs(crowding))
    volume = np.round(np.maximum(typical * busy * np.exp(0.3 * rng.standard_normal(n)), 0.001), 3)
    bought = np.clip(0.5 + 0.12 * np.tanh(z) + 0.02 * rng.standard_normal(n), 0.02, 0.98)
    average = (prices["open"] + prices["high"] + prices["low"] + prices["close"]) / 4
    trades = np.ceil(np.sqrt(volume * average) * rng.uniform(1.5, 2.5, n))
    taker_buy = np.round(volume * bought, 3)
    return {"volume": volume, "quote_volume": np.round(volume * average, 4), "trades": trades, "taker_buy_volume": taker_buy}


def _present(rng, n):
    """False where a bar is missing: one stretch of 1 to 6 bars for about every 5,000; never the first bar or the last."""
    present = np.ones(n, dtype=bool)
    for _ in range(max(1, n // 5000)):
        begin = int(rng.integers(1, n - 7))
        present[begin : begin + int(rng.integers(1, 7))] = False
    return present


def _funding(opens, step, premium, rows):
    """Rate per row at `rows`: the sum of the 8-hourly settlements in (previous open, open]."""
    due = np.arange(-(-opens[0] // FUNDING_MS) * FUNDING_MS, opens[-1] + 1, FUNDING_MS)
    closed = np.searchsorted(opens + step, due, side="right")  # bars known at each settlement
    begin = np.minimum(np.searchsorted(opens + step, due - FUNDING_MS, side="right"), np.maximum(closed - 1, 0))
    total = np.r_[0.0, np.cumsum(premium)]
    mean = (total[closed] - total[begin]) / np.maximum(closed - begin, 1)
    rates = np.round(mean + np.clip(1e-4 - mean, -5e-4, 5e-4), 8)
    at = np.searchsorted(rows, due)
    return np.round(np.bincount(at[at < rows.size], rates[at < rows.size], rows.size), 8)

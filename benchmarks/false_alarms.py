"""How often the kill switches' defaults trip where nothing is wrong: on recorded bars, by luck, and on requests that fail now and then.

    python benchmarks/false_alarms.py [folder of recorded market data]

An account that is latched is reset a day later, so that one storm counts once. Volatility is judged by the runner's own switch, bar by bar;
of the day's loss and the drawdown, for somebody always long at a constant leverage; of trades lost in a row and failed requests, by
probability. Defaults are not fitted to any of this.
"""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.market.trading.client import REMEMBERED
from quantalpha.runner.engine import HISTORY
from quantalpha.runner.events import EquityEvent
from quantalpha.runner.switches import Volatility
from quantalpha.runner.views import AccountView

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RECORDED = {
    "BTC 1m, spot, 2024": "binance_spot_BTCUSDT_1m_2024", "BTC 5m": "binance_um_BTCUSDT_5m", "ETH 5m": "binance_um_ETHUSDT_5m",
    "BTC 15m, spot": "binance_spot_BTCUSDT_15m", "BTC 1h, spot": "binance_spot_BTCUSDT_1h", "ETH 1h, spot": "binance_spot_ETHUSDT_1h",
}  # fmt: skip
SINCE = pd.Timestamp("2019-01-01", tz="UTC")
DAY, YEAR = pd.Timedelta(days=1), pd.Timedelta(days=365)
FACTORS = (4.0, 6.0, 8.0, 12.0)
LEVERAGES = (0.4, 1.0)
HITS = (0.6, 0.5, 0.4)  # of trades
FAILING = (0.01, 0.05, 0.2, 0.35)  # of requests
ASKED = 86_400  # requests a day: one a second


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    limits = config.load().switches
    if not folder.is_dir():
        sys.exit(f"{folder}: no recorded market data there; name its folder")
    bars = {name: read(folder / f"{file}.parquet") for name, file in RECORDED.items()}
    print(f"volatility (default {limits.volatility:g}): trips a year at" + "".join(f"{factor:>8g}" for factor in FACTORS))
    for name, closes in bars.items():
        ratios = unusual(closes, limits.volatility_bars)
        print(f"  {name:30}" + "".join(f"{a_year(ratios > factor, closes):>8.1f}" for factor in FACTORS))
    print(f"always long: trips a year of a day's loss of {limits.daily_loss:.0%} and of a drawdown of {limits.drawdown:.0%}")
    for name in ("BTC 1h, spot", "ETH 1h, spot"):
        for leverage in LEVERAGES:
            print(f"  {name}, leverage {leverage:<10g}" + "".join(f"{each:>8.1f}" for each in lost(bars[name], leverage, limits)))
    print(f"{limits.consecutive_losses} lost in a row by luck: once in so many trades")
    for hits in HITS:
        print(f"  {hits:.0%} of the trades won {until_run(1 - hits, limits.consecutive_losses):>17,.0f}")
    print(f"more than {limits.api_errors:.0%} of {REMEMBERED} requests failed by luck, {ASKED:,} a day: at most once in so many years")
    for share in FAILING:
        print(f"  {share:.0%} of the requests fail {1 / (beyond(share, limits.api_errors) * ASKED * 365):>17.1e}")


def read(path: Path) -> pd.Series:
    return pd.read_parquet(path).set_index("timestamp")["close"].loc[SINCE:]


def unusual(closes: pd.Series, last: int) -> np.ndarray:
    """Of each bar, how many times the usual the deviation of the last bars is: what the switch says when nothing is allowed."""
    returns, switch = closes.pct_change().to_numpy(), Volatility(-1.0, last, True)
    ratios = np.full(len(closes), np.nan)
    for row in range(HISTORY, len(closes)):
        told = EquityEvent(event_time=0, recv_time=0, symbol="x", bar=0, equity=1.0, cash=1.0, quantity=0.0, price=1.0)
        values = switch.see(AccountView(1.0, returns={"x": returns[row + 1 - HISTORY : row + 1]}), told).values
        ratios[row] = values["deviation"] / values["usual"]
    return ratios


def a_year(trips: np.ndarray, closes: pd.Series) -> float:
    """Trips that come a day or more after the one before."""
    count, until = 0, closes.index[0]
    for time in closes.index[trips]:
        if time >= until:
            count, until = count + 1, time + DAY
    return count / ((closes.index[-1] - closes.index[0]) / YEAR)


def lost(closes: pd.Series, leverage: float, limits: config.Switches) -> tuple[float, float]:
    """Trips a year of the day's loss and of the drawdown, whose peak a reset makes anew."""
    returns = leverage * closes.pct_change().fillna(0.0)
    equity = (1 + returns).cumprod()
    day = equity.index.floor("D")
    opening = equity.shift(1, fill_value=1.0).groupby(day).transform("first")
    drops, peak = 0, 0.0
    for value in equity:
        peak = max(peak, value)
        if value < (1 - limits.drawdown) * peak:
            drops, peak = drops + 1, value
    years = (closes.index[-1] - closes.index[0]) / YEAR
    return a_year((equity < (1 - limits.daily_loss) * opening).to_numpy(), closes), drops / years


def until_run(chance: float, length: int) -> float:
    """Mean number of trials until that many in a row (Feller 1968, XIII.7)."""
    return (1 - chance**length) / ((1 - chance) * chance**length)


def beyond(chance: float, limit: float) -> float:
    """Probability that more than this share of the remembered requests failed."""
    least = math.floor(limit * REMEMBERED) + 1
    return sum(math.comb(REMEMBERED, n) * chance**n * (1 - chance) ** (REMEMBERED - n) for n in range(least, REMEMBERED + 1))


if __name__ == "__main__":
    main()

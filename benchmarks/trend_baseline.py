"""The volatility-targeted trend baseline: long only, BTC and ETH, mid 2018 to 2024, 6 basis points a side, textbook parameters, untuned.

python benchmarks/trend_baseline.py [folder of recorded market data]

Each coin gets half of one account and aims at 20 % volatility a year, at most twice its half. Decisions are made on daily bars of the spot
price (the perpetuals' are not recorded before 2020) and traded on hourly ones, where funding is paid at its own hours: recorded for BTC
from 2020, for ETH from 2020 to May 2024, nothing outside. Figures are of daily closes.
"""

import sys
from pathlib import Path

import pandas as pd

from quantalpha.backtest import Result, simulate
from quantalpha.perp import Account, Costs
from quantalpha.strategy.rules import STRATEGIES
from quantalpha.strategy.sizing import cap_exposure, volatility_target
from quantalpha.validation import annual_volatility, cagr, max_drawdown, sharpe_ratio

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SYMBOLS = ("BTCUSDT", "ETHUSDT")
RULES = ("trend", "momentum", "breakout", "ma_cross", "buy_and_hold")  # buy_and_hold: the volatility target alone
START, CASH, ANNUAL, CAP = pd.Timestamp("2018-07-01", tz="UTC"), 10_000.0, 0.20, 2.0
COSTS = Costs(maker=0.0006, taker=0.0006, slippage=0.0, liquidation=0.0125)
SKETCH = "the sketch to beat: Sharpe 0.92, max drawdown 12.5 %"


def read(folder: Path, symbol: str, timeframe: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"binance_spot_{symbol}_{timeframe}.parquet").set_index("timestamp").drop(columns="n_minutes")


def funded(folder: Path, symbol: str, bars: pd.DataFrame) -> pd.DataFrame:
    """Hourly bars with the funding settled at each bar's open."""
    settled = pd.read_parquet(folder / f"binance_um_{symbol}_funding_8h.parquet").set_index("timestamp")["funding_rate"]
    hourly = settled.groupby(settled.index.floor("h")).sum()
    return bars.assign(funding_rate=hourly.reindex(bars.index, fill_value=0.0))


def target(rule: str, daily: pd.DataFrame, *, long_only: bool) -> pd.Series:
    """What half of the account should hold, at each daily close."""
    side = STRATEGIES[rule](daily)
    return volatility_target(side.clip(lower=0.0) if long_only else side, daily["close"], annual=ANNUAL, cap=CAP)


def by_the_hour(decided: pd.Series, index: pd.DatetimeIndex) -> pd.Series:
    """A daily decision stands from the hour that ends when its day does."""
    return decided.set_axis(decided.index + pd.Timedelta(hours=23)).reindex(index, method="ffill").fillna(0.0)


def followed(rule: str, daily: dict, bars: dict, *, long_only: bool, start: pd.Timestamp) -> Result:
    """One account that trades hourly `bars` from `start` on, a share of it each coin's."""
    hours = {name: by_the_hour(target(rule, days, long_only=long_only), bars[name].index) for name, days in daily.items()}
    shares = cap_exposure(pd.DataFrame(hours) / len(hours), gross=CAP).loc[start:]
    traded = {name: table.loc[start:] for name, table in bars.items()}
    return simulate(traded, shares, account=Account(CASH, leverage=CAP), costs=COSTS)


def measure(equity: pd.Series, turnover: float) -> dict[str, float]:
    daily = pd.concat([pd.Series([CASH], [equity.index[0] - pd.Timedelta(days=1)]), equity.resample("1D").last()])
    returns = daily.pct_change().iloc[1:]
    return {
        "Sharpe": sharpe_ratio(returns, periods_per_year=365),
        "max drawdown %": 100 * max_drawdown(daily),
        "CAGR %": 100 * cagr(daily, periods_per_year=365),
        "volatility %": 100 * annual_volatility(returns, periods_per_year=365),
        "turnover a year": turnover,
    }


def main(folder: Path) -> None:
    if not folder.is_dir():
        print(f"skipped: no recorded market data in {folder.parent.name}/{folder.name}; name its folder")
        return
    daily = {symbol: read(folder, symbol, "1d") for symbol in SYMBOLS}
    free = {symbol: read(folder, symbol, "1h") for symbol in SYMBOLS}
    paid = {symbol: funded(folder, symbol, bars) for symbol, bars in free.items()}
    rows = {}
    for long_only, rules in ((True, RULES), (False, RULES[:-1])):
        for rule in rules:
            for funding, bars in (("none", free), ("paid", paid)):
                result = followed(rule, daily, bars, long_only=long_only, start=START)
                rows["long" if long_only else "both", rule, funding] = measure(result.equity, result.metrics()["turnover"])
    table = pd.DataFrame(rows).T.rename_axis(["sides", "rule", "funding"])
    print(table.round(2).to_string(), SKETCH, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)

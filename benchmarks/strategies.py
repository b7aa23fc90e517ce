"""Every strategy of the registry with walk-forward parameters on recorded hours of BTC and ETH, 2019 to 2024: two markdown tables.

python benchmarks/strategies.py [folder of recorded market data]

Parameters are chosen on the 16.5 months before each half-year (all there is before 2019), by the plateau of 60 tries, and judged on that
half-year. Figures are of one account that trades all twelve, net of 5 bp fee, 1 bp slippage and funding, from hourly closes; costs and
funding are shares of the mean equity a year. The boxes that are searched are the registry's; nothing here was fitted to the outcome. Every
try goes into the workspace's ledger.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from trend_baseline import DATA, SYMBOLS, followed, funded, read

from quantalpha.backtest import simulate
from quantalpha.backtest.parameter_walk_forward import walk_forward_parameters
from quantalpha.backtest.search import Search
from quantalpha.config import Splits
from quantalpha.market import read_panel
from quantalpha.perp import Account, Costs, Instrument, brackets_for
from quantalpha.strategy import ARBITRAGES, SEARCH, STRATEGIES, panel, trend
from quantalpha.timeframe import YEAR_MS
from quantalpha.validation import Trials

NOTES = """\
Prices are of Binance spot; funding is that of its perpetuals: BTC's from 2020, ETH's from 2020 to 14 May 2024, none outside (holding is
free there). Arbitrage wants two prices: the perpetual's are recorded from 2023, so those rows learn from half a year and trade from July
2023 until the prices, or ETH's funding, end. "spot price": six years with a perpetual that costs what the coin costs, so what funding
paid, without the risk of the basis. "coin for a venue": no second venue's prices are recorded; the coin stands in for one, as if it could
be borrowed for nothing. tries: sets scored, in training and on what followed; no Sharpe ratio is deflated by them yet. efficiency: mean
Sharpe on what followed over mean Sharpe in training, nothing where training earned nothing."""
START, HALVES = pd.Timestamp("2019-01-01", tz="UTC"), 12
HALF_YEAR, QUARTER = 4_380, 2_190  # hours
SEARCHED = Search(budget=60, method="tpe", rule="plateau", seed=7)
COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)
TERMS = {"initial_cash": 10_000.0, "leverage": 2.0, "lot": 0.001, "rebalance_band": 0.1, "limit_bars": 6}
COLUMNS = {
    "years": "{:.1f}", "net Sharpe": "{:.2f}", "CAGR": "{:.1%}", "max drawdown": "{:.1%}", "trades": "{:,.0f}",
    "turnover a year": "{:,.1f}", "costs a year": "{:.2%}", "funding a year": "{:+.2%}", "tries": "{:,.0f}", "efficiency": "{:.2f}",
}  # fmt: skip


class Row(NamedTuple):
    bars: pd.DataFrame | dict[str, pd.DataFrame]
    strategy: Callable
    space: dict
    splits: Splits
    account: Account


def rows_of(folder: Path) -> dict[tuple[str, str], Row]:
    """(strategy, market) -> what is walked through."""
    coins, recorded = {symbol: read(folder, symbol, "1h") for symbol in SYMBOLS}, read_panel(folder / "binance_um_panel33_1h.parquet")
    perpetuals = {symbol: funded(folder, symbol, bars) for symbol, bars in coins.items()}
    rows = {}
    for symbol, coin in coins.items():
        alone = Account(**TERMS, brackets=brackets_for(symbol))
        for name, rule in STRATEGIES.items():
            rows[name, symbol] = Row(perpetuals[symbol], rule, SEARCH.get(name, {}), halves(coin), alone)
        for name, row in arbitrages(symbol, coin, perpetuals[symbol], funded(folder, symbol, recorded[symbol])).items():
            rows[name, symbol] = row
    for symbols in (SYMBOLS[:1], SYMBOLS[1:], SYMBOLS):
        bars, rule = {symbol: perpetuals[symbol] for symbol in symbols}, partial(panel, rule=long_trend, annual=0.2)
        lots = {symbol: Instrument(lot=TERMS["lot"], brackets=brackets_for(symbol)) for symbol in symbols}
        shared = Account(**TERMS | {"rebalance_band": TERMS["rebalance_band"] / len(symbols)}, instruments=lots)
        rows["trend, long, 20 % volatility", "+".join(symbols)] = Row(bars, rule, SEARCH["trend"], halves(coins[symbols[0]]), shared)
    return rows


def long_trend(bars: pd.DataFrame, **params) -> pd.Series:
    return trend(bars, **params).clip(lower=0.0)


def halves(bars: pd.DataFrame) -> Splits:
    train = int(bars.index.searchsorted(START))
    return Splits(scheme="sliding", train=train, test=(len(bars) - train) // HALVES, embargo=0)


def arbitrages(symbol: str, coin: pd.DataFrame, priced: pd.DataFrame, recorded: pd.DataFrame) -> dict[str, Row]:
    """priced: a perpetual that costs what the coin costs; recorded: one with prices of its own, of which funding may end before."""
    recorded = recorded.loc[: recorded.index[recorded["funding_rate"] != 0.0][-1]]
    both = {"coin": coin.loc[recorded.index[0] : recorded.index[-1]], "perpetual": recorded}
    venues = both | {"coin": both["coin"].assign(funding_rate=0.0)}
    short = Splits(scheme="sliding", train=HALF_YEAR, test=QUARTER, embargo=0)
    margined = Account(**TERMS, brackets=brackets_for(symbol))
    paid = Account(**TERMS, brackets=brackets_for(symbol), instruments={"coin": Instrument(lot=TERMS["lot"], spot=True)})
    funding, basis = ((ARBITRAGES[name], SEARCH[name]) for name in ("funding_arbitrage", "basis_arbitrage"))
    return {
        "funding_arbitrage (spot price)": Row({"coin": coin, "perpetual": priced}, *funding, halves(coin), paid),
        "funding_arbitrage": Row(both, *funding, short, paid),
        "basis_arbitrage (coin for a venue)": Row(venues, *basis, short, margined),
    }


def judged(task: tuple[Path, tuple[str, str]]) -> dict:
    """One row of the tables, of (folder, key of `rows_of`)."""
    start, (folder, key) = time.perf_counter(), task
    row, terms = rows_of(folder)[key], {"search": SEARCHED, "costs": COSTS, "trials": Trials(), "study": "benchmarks/strategies.py"}
    found = walk_forward_parameters(row.bars, row.strategy, row.space, splits=row.splits, account=row.account, **terms)
    tried = {"tries": len(found.evaluated) + len(found.folds), "efficiency": found.efficiency} if row.space else {}
    taken = [(name, found.folds[name]) for name in row.space]
    chosen = ", ".join(f"{name} {values.median():.4g} ({values.min():.4g} to {values.max():.4g})" for name, values in taken)
    return figures(*key, found.result) | tried | {"chosen": chosen, "seconds": time.perf_counter() - start}


def references(folder: Path) -> list[dict]:
    """The coin bought with all cash when 2019 begins, and the untuned baseline of trend_baseline.py with the same funding."""
    days, hours = ({symbol: read(folder, symbol, timeframe) for symbol in SYMBOLS} for timeframe in ("1d", "1h"))
    paid, rows = {symbol: funded(folder, symbol, bars) for symbol, bars in hours.items()}, []
    for symbol, bars in hours.items():
        coin = bars.loc[START:]
        result = simulate(coin, STRATEGIES["buy_and_hold"](coin), account=Account(TERMS["initial_cash"]), costs=COSTS)
        rows.append(figures("the coin held", symbol, result))
    for symbols in (SYMBOLS[:1], SYMBOLS[1:], SYMBOLS):
        daily, bars = ({symbol: tables[symbol] for symbol in symbols} for tables in (days, paid))
        result = followed("trend", daily, bars, long_only=True, start=START)
        rows.append(figures("baseline: daily trend, long, 20 % volatility, untuned", "+".join(symbols), result))
    return rows


def figures(strategy: str, market: str, result) -> dict:
    metrics, index = result.metrics(), result.equity.index
    years = (index[-1] - index[0]) / pd.Timedelta("1ms") / YEAR_MS
    yearly = 1 / years / float(result.equity.mean())
    return {
        "strategy": strategy, "market": market.replace("USDT", ""), "years": years, "net Sharpe": metrics["sharpe_ratio"],
        "CAGR": metrics["cagr"], "max drawdown": metrics["max_drawdown"], "trades": metrics["n_trades"],
        "turnover a year": metrics["turnover"], "costs a year": (metrics["fees"] + metrics["slippage"]) * yearly,
        "funding a year": metrics["funding"] * yearly,
    }  # fmt: skip


def markdown(table: pd.DataFrame) -> str:
    """Numbers to the right; nothing where one is not known."""
    text = table.assign(**{name: table[name].map(form.format) for name, form in COLUMNS.items() if name in table}).replace("nan", "")
    lines = [list(text), ["---:" if name in COLUMNS else "---" for name in text], *text.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(folder: Path) -> None:
    if not folder.is_dir():
        print(f"skipped: no recorded market data in {folder.parent.name}/{folder.name}; name its folder")
        return
    start, before, rows = time.perf_counter(), Trials().count(), []
    tasks = [(folder, key) for key in sorted(rows_of(folder), key=lambda key: (len(key[1]), key[1]))]
    with Pool(2) as pool:
        for row in pool.imap(judged, tasks):
            rows.append(row)
            print(f"{len(rows):2} of {len(tasks)}: {row['strategy']}, {row['market']}: {row['seconds']:.0f} s", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(markdown(pd.concat([table, pd.DataFrame(references(folder))])[["strategy", "market", *COLUMNS]]), "", NOTES, "", sep="\n")
    print(
        "Parameters chosen, median (least to most):", markdown(table[table["chosen"] != ""][["strategy", "market", "chosen"]]), sep="\n\n"
    )
    print(f"\n{Trials().count() - before:,} new tries in the ledger, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)

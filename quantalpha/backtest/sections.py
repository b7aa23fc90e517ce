"""The sections of a tearsheet: which figures and tables tell what, and in which words."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.backtest import figures, page, periods
from quantalpha.backtest.attribution import decompose
from quantalpha.backtest.breakdown import by_regime, by_side
from quantalpha.backtest.critic import Finding
from quantalpha.backtest.frontier import half_sharpe_size
from quantalpha.backtest.monte_carlo import MonteCarlo
from quantalpha.backtest.result import Result, bars_per_year
from quantalpha.backtest.significance import RandomEntry
from quantalpha.timeframe import YEAR_MS
from quantalpha.validation.path import path_metrics

if TYPE_CHECKING:
    from quantalpha.backtest.figures import Figure

FORMATS = {  # of a number by its name; what is not listed is a ratio with two digits
    "{:+.1%}": ("total_return", "cagr", "worst_trade_return", "best_trade_return"),
    "{:.1%}": ("volatility", "max_drawdown", "average_drawdown", "ulcer_index", "win_rate", "exposure", "share", "depth"),
    "{:.2%}": ("value_at_risk", "expected_shortfall"),
    "{:+.2%}": ("expectancy_return",),
    "{:+,.2f}": ("expectancy", "best_trade", "worst_trade", "pnl", "funding"),
    "{:,.0f}": ("n_trades", "bars", "liquidations", "longest_losing_streak", "max_drawdown_bars", "fills", "notional"),
    "{:,.1f}": ("max_drawdown_days", "longest_drawdown_days", "turnover", "mean_holding_bars", "median_holding_bars", "days_down", "days"),
    "{:%Y-%m-%d}": ("peak", "trough", "recovered"),
}
PATTERN = {name: pattern for pattern, names in FORMATS.items() for name in names}
RATIO = "{:,.2f}"
AGAINST = ("total_return", "cagr", "volatility", "sharpe_ratio", "sortino_ratio", "calmar_ratio", "max_drawdown", "longest_drawdown_days")
OF_TRADES = ("n_trades", "win_rate", "profit_factor", "payoff_ratio", "expectancy_return", "mean_holding_bars", "pnl")
OF_REGIME = (
    "share",
    "exposure",
    "total_return",
    "sharpe_ratio",
    "max_drawdown",
    "n_trades",
    "win_rate",
    "profit_factor",
    "expectancy_return",
    "pnl",
)


class Sections:
    """`sections` (name, HTML) and `figures` as they are put together: each method adds one section, or none for want of input."""

    def __init__(self, result: Result):
        self.result, self.trips = result, result.trades
        self.sections: list[tuple[str, str]] = []
        self.figures: dict[str, Figure] = {}

    def critic(self, findings: Sequence[Finding] | None) -> None:
        if findings is None:
            return
        clean = page.paragraph("The critic looked and found nothing wrong. That is no proof that nothing is.")
        listed = page.findings((found.severity, page.words(found.code), found.message) for found in findings)
        self._add("What looks wrong", listed if findings else clean)

    def headline(self) -> None:
        metrics = self.result.metrics()
        text = {name: page.formatted(value, PATTERN.get(name, RATIO)) for name, value in metrics.items()}
        tone = {name: "good" if value > 0 else "bad" if value < 0 else "" for name, value in metrics.items()}
        paid = metrics["fees"] + metrics["slippage"] - metrics["funding"]
        of_it = f"fees {metrics['fees']:,.0f}, slippage {metrics['slippage']:,.0f}, funding {-metrics['funding']:,.0f}"
        cards = (
            ("Total return", text["total_return"], f"CAGR {text['cagr']}", tone["total_return"]),
            ("Sharpe", text["sharpe_ratio"], f"volatility {text['volatility']} a year", tone["sharpe_ratio"]),
            ("Sortino", text["sortino_ratio"], f"Omega {text['omega_ratio']}", tone["sortino_ratio"]),
            ("Calmar", text["calmar_ratio"], f"ulcer index {text['ulcer_index']}", tone["calmar_ratio"]),
            ("Max drawdown", text["max_drawdown"], f"lasted {text['max_drawdown_days']} days", ""),
            ("Profit factor", text["profit_factor"], f"payoff {text['payoff_ratio']}", ""),
            ("Trades", text["n_trades"], f"{text['win_rate']} won", ""),
            ("Mean trade", text["expectancy_return"], f"held {text['mean_holding_bars']} bars", tone["expectancy_return"]),
            ("Exposure", text["exposure"], f"mean leverage {text['mean_leverage']}", ""),
            ("Turnover", text["turnover"], "times equity a year", ""),
            ("Costs", f"{paid:,.0f}", of_it, ""),
            ("Liquidations", text["liquidations"], "forced by the venue", "bad" if metrics["liquidations"] else ""),
        )
        self._add("Headline", page.cards(cards), page.folded(f"All {len(text)} metrics", text))

    def money(self, baselines: Mapping[str, pd.Series]) -> None:
        fall, forced = periods.underwater(self.result), pd.DatetimeIndex(self.result.liquidations["time"].unique())
        drawn = figures.equity(self.result.equity, fall, baselines, forced)
        content = [self._draw("equity", drawn, 520, "At each bar's close, after all costs. Drag to zoom, double-click to see all again.")]
        if baselines:
            curves, cash = {"this result": self.result.equity, **baselines}, self.result.account.initial_cash
            yearly = bars_per_year(self.result.equity.index)
            rows = {name: path_metrics(path.to_numpy(float), cash, periods_per_year=yearly) for name, path in curves.items()}
            content.append(_numbers(pd.DataFrame.from_dict(rows, orient="index")[list(AGAINST)], "Against its baselines"))
        episodes = periods.drawdowns(fall)
        if len(episodes):
            content.append(_numbers(episodes.set_axis(range(1, len(episodes) + 1)), "Deepest drawdowns"))
        self._add("Equity and drawdown", *content)

    def calendar(self) -> None:
        months = periods.monthly_returns(periods.daily_returns(self.result.returns))
        content = [self._draw("monthly", figures.monthly(months), 64 + 34 * len(months), heading="Returns by month", least=700)]
        days = periods.window(self.result)
        moving = periods.rolling(self.result, days)
        if moving["volatility"].notna().sum() > 1:
            content.append(self._draw("rolling", figures.rolling(moving), 480, heading=f"Moving window of {days} days"))
        self._add("Through time", *content)

    def trades(self, regimes: pd.Series | None) -> None:
        if self.trips.empty:
            return
        spacing = pd.Timedelta(YEAR_MS / bars_per_year(self.result.equity.index), "ms")
        drawn = f"{figures.SHOWN:,} of {len(self.trips):,} trades are drawn: the largest, and an even sample of the others."
        sampled = drawn if len(self.trips) > figures.SHOWN else ""
        worst = "Each trade twice: against the worst open profit it saw (a stop nearer than that would have met it), and against the best."
        content = [
            page.grid(
                self._draw("trade_returns", figures.trade_returns(self.trips), 330, heading="Distribution of returns"),
                self._draw("holding", figures.holding(self.trips, spacing), 330, sampled, "Return and holding time"),
            ),
            self._draw("excursions", figures.excursions(self.trips), 380, f"{worst} {sampled}", "Excursions"),
            _numbers(by_side(self.result)[["exposure", *OF_TRADES]], "By side"),
        ]
        if regimes is not None:
            content.append(_numbers(by_regime(self.result, regimes)[list(OF_REGIME)], "By regime"))
        note = (
            "A trade runs from flat to flat; a flip ends one and begins the next. Returns are on the entry notional, after all costs; "
            "a mean counts every trade the same, however large."
        )
        self._add("Trades", *content, note=note)

    def costs(self, frontier: pd.DataFrame | None, break_even: float | None, capacity: pd.DataFrame | None) -> None:
        if self.result.fills.empty:
            return
        fills, funding = self.result.fills.set_index("time"), self.result.funding.set_index("time")
        whole = decompose(self.result).iloc[0].drop("notional")
        steps = whole[(whole != 0.0) | whole.index.isin(("gross", "net"))]
        booked = {"fees": -fills["fee"], "slippage": -fills["slippage"]} | ({"funding": funding["amount"]} if len(funding) else {})
        content = [
            page.grid(
                self._draw("waterfall", figures.waterfall(steps), 350, heading="From gross to net"),
                self._draw("paid", figures.paid_over_time(booked), 350, heading="Paid and received over time"),
            ),
            page.grid(
                _numbers(_fills_by_reason(fills), "Fills"), page.facts(_funding(funding["amount"]), "Funding") if len(funding) else ""
            ),
        ]
        if "symbol" in self.trips:
            content.append(_numbers(decompose(self.result, by="symbol"), "By symbol"))
        if frontier is not None:
            bound = max(float(frontier["sharpe_ratio"].abs().max()), 1e-4)
            maps = {delay: figures.frontier(rows, bound) for delay, rows in frontier.groupby("delay")}
            drawn = [self._draw(f"frontier_{delay}", fig, 300, heading=_lateness(delay)) for delay, fig in maps.items()]
            words = "Net Sharpe ratio when fees and slippage are these multiples of the assumed ones."
            content += [page.subheading("Cost and latency frontier"), page.paragraph(words), page.grid(*drawn, three=True)]
        if break_even is not None:
            factor = f"Nothing is left when all costs are {break_even:.2f} times as high."
            none = "There is no break-even: it loses even for free, or gains at any cost the account allows."
            content.append(page.paragraph(factor if break_even > 0.0 else none))
        if capacity is not None:
            half = half_sharpe_size(capacity)
            words = f"Half of the Sharpe of the smallest account is lost at {half:,.0f}." if half > 0.0 else ""
            content.append(self._draw("capacity", figures.capacity(capacity), 330, words, "Capacity"))
        self._add("Costs", *content)

    def luck(self, resampled: Mapping[str, MonteCarlo], significance: RandomEntry | None) -> None:
        content = []
        for name, each in resampled.items():
            drawn = f"{each.paths:,} paths of blocks of {each.block:.3g} on average"
            words = f"{drawn}: {each.probability_of_loss:.1%} end in a loss, {each.probability_of_ruin:.1%} are ruined on the way."
            boxes = "Boxes: 5, 25, 50, 75 and 95 %. Diamonds: what happened."
            content.append(self._draw(f"fan_{name}", figures.fan(each.bands), 360, words, f"Resampled {name}".strip()))
            content.append(self._draw(f"intervals_{name}", figures.intervals(each.figures), 260, boxes))
        if significance is not None:
            content.append(self._random(significance))
        if content:
            self._add("Luck", *content)

    def _random(self, found: RandomEntry) -> str:
        words = f"{len(found.luck):,} runs with the same holdings at random times: as good by luck with p = {found.p_value:.3g}."
        known = found.luck[np.isfinite(found.luck)]
        if not known.size or not np.isfinite(found.observed):
            return page.subheading("Random entries") + page.paragraph(words)
        drawn = figures.histogram(known, {"observed": found.observed}, page.words(found.metric))
        return self._draw("luck", drawn, 330, words, "Random entries")

    def parameters(self, data: Mapping[str, object]) -> None:
        costs = self.result.costs if isinstance(self.result.costs, Mapping) else {"": self.result.costs}
        parts = {"Account": self.result.account} | {f"Costs {symbol}".strip(): each for symbol, each in costs.items()}
        parts |= {"Stops": self.result.stops} if self.result.stops is not None else {}
        facts = {name: _facts(part) for name, part in parts.items()}
        told = page.grid(*(page.facts(found, name) for name, found in facts.items() if found), three=True)
        self._add("Parameters", told, page.facts(data, "Data") if data else "")

    def _add(self, name: str, *content: str, note: str = "") -> None:
        self.sections.append(page.section(name, *content, note=note))

    def _draw(self, name: str, figure: "Figure", height: int, caption: str = "", heading: str = "", least: int = 0) -> str:
        self.figures[name] = figure.update_layout(height=height)
        return page.figure(name, height, caption, heading, least)


def span(result: Result) -> str:
    """What the result covers, in a line."""
    index, yearly = result.equity.index, bars_per_year(result.equity.index)
    symbols = f" of {', '.join(result.position.columns)}" if result.position.ndim == 2 else ""
    spacing = f" of {YEAR_MS / yearly / 60_000:g} minutes" if len(index) > 1 else ""
    return f"{index[0]:%Y-%m-%d %H:%M} to {index[-1]:%Y-%m-%d %H:%M} UTC, {len(index):,} bars{spacing}{symbols}"


def _lateness(delay: int) -> str:
    return "Fills at the next open" if delay == 0 else f"{delay} bar{'s' * (delay > 1)} later"


def _numbers(frame: pd.DataFrame, heading: str) -> str:
    return page.table(frame, {name: PATTERN.get(name, RATIO) for name in frame.columns}, heading)


def _fills_by_reason(fills: pd.DataFrame) -> pd.DataFrame:
    sized = fills.assign(notional=fills["quantity"].abs() * fills["price"])
    table = sized.groupby("reason").agg(
        fills=("fee", "size"), notional=("notional", "sum"), fees=("fee", "sum"), slippage=("slippage", "sum")
    )
    return table.sort_values("notional", ascending=False).rename(index=page.words)


def _funding(amount: pd.Series) -> dict[str, str]:
    paid, received = -amount[amount < 0.0].sum(), amount[amount > 0.0].sum()
    money = {"paid": paid, "received": received, "net": received - paid}
    return {"settlements": f"{len(amount):,}"} | {name: f"{value:,.2f}" for name, value in money.items()}


def _facts(part) -> dict[str, str]:
    """Fields and values of a dataclass that say something."""
    return {field.name: _fact(getattr(part, field.name)) for field in fields(part) if getattr(part, field.name) is not None}


def _fact(value: object) -> str:
    """Nested dataclasses in one line, tables by their length."""
    if is_dataclass(value):
        return ", ".join(f"{page.words(name)} {fact}" for name, fact in _facts(value).items())
    if isinstance(value, Mapping | tuple):
        return f"{len(value)} entries"
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)

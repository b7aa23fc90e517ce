"""What looks wrong with a result: each doubt that applies, in words and numbers. A result without findings is not yet a good one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from quantalpha.backtest.attribution import decompose
from quantalpha.backtest.breakdown import by_side
from quantalpha.backtest.performance import performance, trade_returns
from quantalpha.backtest.result import Result, bars_per_year
from quantalpha.errors import DataError

MIN_TRADES = 30  # below it a mean of trades is not even roughly normal
MIN_YEARS = 1.0  # a year has seen at least one rise and one fall of most markets
T_VALUE = 1.645  # Sharpe * sqrt(years) below it is luck once in twenty tries
LUCK_SHARE = 0.5  # half of the result from one trade is no habit
TAIL_SHARE = 0.01  # nor is a result that vanishes when the best and the worst trade in a hundred are left out
# The next three name an honest Sharpe of 2 (independent normal returns) in 2 of 100 cases after three years, in 20 of 100 after one.
FLAT_SHARE = 0.5  # of the time without a new high: few would have held on
PERIOD, PERIOD_SHARE = 0.1, 0.75  # three quarters of the growth within a tenth of the time
MIN_MONTHS, MONTH_SHARE = 6, 0.5  # half of the growth in one month, where there are enough of them to tell
DOUBT_SHARE = 0.2  # what hangs on doubtful bars may be a fifth of the result: the size of its own error in most samples
STRESS = 2.0  # costs twice as high: what a thin hour or a smaller account's fees come to
ALWAYS, ONE_SIDE = 0.9, 0.95  # nearly always in the market, nearly always on one side
ODD_RATE = 0.002  # twenty times the usual rate
HELD_DAYS = 2.0  # the longest interval between settlements is eight hours
PLAUSIBLE_SHARPE = 4.0  # net of costs and held for years, known of nobody who trades bars


@dataclass(frozen=True)
class Finding:
    """severe: the result should not be believed or does not pay; warning: look before you believe."""

    severity: Literal["severe", "warning"]
    code: str
    message: str
    values: dict[str, float | list[int]] = field(default_factory=dict)


def critique(result: Result, *, disputed: pd.Series | None = None) -> list[Finding]:
    """All findings, severe ones first; `pandas.DataFrame(critique(result))` is a table of them.

    disputed: bool per bar (any of the result's bars, missing ones are sound): bars whose prices are in doubt.
    """
    facts = _Facts(result)
    if not len(result.trades):
        return [Finding("severe", "no_trades", "nothing was traded")]
    checks = (
        _no_profit, _few_trades, _short_sample, _implausible, _lucky_trade, _flat_curve, _one_period, _one_month, _free_trading,
        _no_funding, _odd_funding, _cost_exceeds_gross, _thin_edge, _liquidated, _one_sided, _intrabar,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(facts)]
    if disputed is not None:
        found += _disputed(facts, disputed)
    return sorted(found, key=lambda finding: finding.severity != "severe")


def disputed_trades(result: Result, disputed: pd.Series) -> pd.DataFrame:
    """The rows of `result.trades` with a fill in a bar that `disputed` (bool by bar open time) marks."""
    marked = disputed.index[disputed.to_numpy(bool)]
    strangers = marked.difference(result.index)
    if len(strangers):
        raise DataError(f"disputed: {strangers[0]} is no bar of the result; index it by bar open time")
    trades, fills = result.trades, result.fills[result.fills["time"].isin(marked)]
    hit = np.zeros(len(trades), dtype=bool)
    for symbol in result.legs:
        rows = slice(None) if symbol is None else (trades["symbol"] == symbol).to_numpy()
        times = fills["time"] if symbol is None else fills["time"][fills["symbol"] == symbol]
        left = trades["exit_time"][rows].fillna(result.index[-1])
        hit[rows] = np.searchsorted(times, left, side="right") > np.searchsorted(times, trades["entry_time"][rows], side="left")
    return trades[hit]


class _Facts:
    """What several checks look at, worked out once."""

    def __init__(self, result: Result):
        self.result, self.trades = result, result.trades
        self.shares = trade_returns(result)
        self.net = float(result.equity.iloc[-1] - result.account.initial_cash)
        self.years = len(result.index) / bars_per_year(result.index)

    @cached_property
    def figures(self) -> dict[str, float]:
        return performance(self.result)

    @cached_property
    def costs(self) -> pd.Series:
        """Effects in quote currency, as `attribution.decompose`."""
        return decompose(self.result).loc["all"]

    @property
    def paid(self) -> float:
        """Fees, slippage and liquidation fees; positive is paid."""
        return -float(self.costs[["fees", "slippage", "liquidation"]].sum())

    @cached_property
    def growth(self) -> pd.Series:
        """Log return of each bar; only asked for where the account gained, so equity is above 0."""
        return np.log1p(self.result.returns)


Findings = Iterator[Finding]


def _no_profit(facts: _Facts) -> Findings:
    if facts.net <= 0.0:
        yield Finding("severe", "no_profit", f"the account lost {-facts.net:,.2f}", {"net": facts.net})


def _few_trades(facts: _Facts) -> Findings:
    count = len(facts.trades)
    if count < MIN_TRADES:
        yield Finding("warning", "few_trades", f"{count} trades; a mean needs at least {MIN_TRADES}", {"n_trades": float(count)})


def _short_sample(facts: _Facts) -> Findings:
    sharpe = facts.figures["sharpe_ratio"]
    t_value = sharpe * np.sqrt(facts.years)
    needed = max(MIN_YEARS, (T_VALUE / sharpe) ** 2 if sharpe > 0.0 else MIN_YEARS)
    if facts.years < needed:
        message = f"{facts.years:.2f} years; a Sharpe of {sharpe:.2f} is told from luck after {needed:.1f}"
        yield Finding("warning", "short_sample", message, {"years": facts.years, "t_value": float(t_value), "years_needed": float(needed)})


def _implausible(facts: _Facts) -> Findings:
    sharpe = facts.figures["sharpe_ratio"]
    if sharpe > PLAUSIBLE_SHARPE:
        message = f"Sharpe {sharpe:.1f}, above {PLAUSIBLE_SHARPE:g}: look for a leak of the future, missing costs, fills nobody gives"
        yield Finding("severe", "implausible_sharpe", message, {"sharpe_ratio": sharpe})


def _lucky_trade(facts: _Facts) -> Findings:
    """Each trade as a fraction of the account before it, so that the late ones of an account that grew do not count for more."""
    shares = np.sort(facts.shares)
    total, tail = float(shares.sum()), max(1, int(TAIL_SHARE * shares.size))
    best, trimmed = float(shares[-1]), float(shares[tail:-tail].sum())
    if facts.net > 0.0 and best > LUCK_SHARE * total:
        message = f"the best of {shares.size} trades brought {best:.1%} of the account, all together (not compounded) {total:.1%}"
        yield Finding(_graver(best >= total), "lucky_trade", message, {"best": best, "total": total, "without": total - best})
    elif facts.net > 0.0 >= trimmed:
        message = f"without the best and the worst {tail} of {shares.size} trades {trimmed:.1%} of the account is left of {total:.1%}"
        yield Finding("warning", "lucky_trades", message, {"trades": float(tail), "total": total, "without": trimmed})


def _flat_curve(facts: _Facts) -> Findings:
    share = facts.figures["longest_drawdown_days"] / 365.0 / facts.years
    if share > FLAT_SHARE:
        message = f"no new high of equity for {facts.figures['longest_drawdown_days']:.0f} days, {share:.0%} of the time"
        yield Finding("warning", "flat_curve", message, {"share": share})


def _one_period(facts: _Facts) -> Findings:
    if facts.net <= 0.0:
        return
    length = max(1, int(PERIOD * len(facts.growth)))
    path = np.append(0.0, np.cumsum(facts.growth))
    gained = path[length:] - path[:-length]
    first, share = int(gained.argmax()), float(gained.max() / path[-1])
    if share > PERIOD_SHARE:
        start, end = facts.result.index[[first, first + length - 1]]
        message = f"{share:.0%} of the growth came between {start:%Y-%m-%d} and {end:%Y-%m-%d}, {PERIOD:.0%} of the time"
        yield Finding(_graver(share >= 1.0), "one_period", message, {"share": share})


def _one_month(facts: _Facts) -> Findings:
    if facts.net <= 0.0:
        return
    index = facts.growth.index
    months = facts.growth.groupby([index.year, index.month]).sum()
    share = float(months.max() / months.sum())
    if len(months) >= MIN_MONTHS and share > MONTH_SHARE:
        year, month = months.idxmax()
        message = f"{share:.0%} of the growth of {len(months)} months came in {year}-{month:02d}"
        yield Finding(_graver(share >= 1.0), "one_month", message, {"share": share, "months": float(len(months))})


def _free_trading(facts: _Facts) -> Findings:
    if facts.paid <= 0.0:
        yield Finding("severe", "free_trading", "no fee and no slippage was paid; nobody trades for free", {"paid": facts.paid})


def _no_funding(facts: _Facts) -> Findings:
    """A perpetual held over a settlement pays or receives; one that never did was simulated without its funding."""
    result = facts.result
    for symbol, leg in result.legs.items():
        if result.account.instrument(symbol).spot or len(leg.paid):
            continue
        trades = facts.trades if symbol is None else facts.trades[facts.trades["symbol"] == symbol]
        days = (trades["exit_time"].fillna(result.index[-1]) - trades["entry_time"]).sum() / pd.Timedelta(days=1)
        if days > HELD_DAYS:
            message = f"{symbol or 'the position'} was held for {days:.0f} days without a funding payment; join the venue's funding_rate"
            yield Finding("warning", "no_funding", message, {"days_held": float(days)})


def _odd_funding(facts: _Facts) -> Findings:
    """Venues settle around 0.01 %, rarely 0.1 %."""
    rates = facts.result.funding["rate"].abs()
    usual = float(rates.median())
    if usual > ODD_RATE:
        message = f"half of the funding payments settle more than {usual:.2%} of the notional; is funding_rate in percent? It is a fraction"
        yield Finding("severe", "odd_funding", message, {"median_rate": usual})


def _cost_exceeds_gross(facts: _Facts) -> Findings:
    before = facts.net + facts.paid
    if facts.net <= 0.0 < before:
        message = f"{facts.paid:,.2f} of costs took more than the {before:,.2f} earned before them"
        yield Finding("severe", "cost_exceeds_gross", message, {"net_at_0": before, "net_at_1": facts.net})


def _thin_edge(facts: _Facts) -> Findings:
    """Costs of the same fills; a run with other costs (`frontier`) also trades other sizes."""
    stressed = facts.net - (STRESS - 1.0) * facts.paid
    if facts.net > 0.0 >= stressed:
        at = {"net_at_0": facts.net + facts.paid, "net_at_1": facts.net, "net_at_2": stressed}
        message = f"net {at['net_at_0']:,.2f} for free, {facts.net:,.2f} at these costs, {stressed:,.2f} at {STRESS:g} times"
        yield Finding("warning", "thin_edge", message, at)


def _liquidated(facts: _Facts) -> Findings:
    count = len(facts.result.liquidations)
    if count:
        message = f"the venue closed {count} position(s) by force; lower the leverage or set a stop before the liquidation price"
        yield Finding("severe", "liquidated", message, {"liquidations": float(count)})


def _one_sided(facts: _Facts) -> Findings:
    held = by_side(facts.result)["exposure"]
    for side, other in (("long", "short"), ("short", "long")):
        if held["all"] > ALWAYS and held[side] > ONE_SIDE * held["all"] and held[other] < (1.0 - ONE_SIDE) * held["all"]:
            message = f"{side} at {held[side]:.0%} of the bars: a hold in disguise, to be judged against holding"
            yield Finding("warning", "one_sided", message, {"exposure": float(held["all"]), side: float(held[side])})


def _intrabar(facts: _Facts) -> Findings:
    """Trades that ended at the adverse side of a bar that also reached their take-profit: the clock counts the worse of the two."""
    stops, trades = facts.result.stops, facts.trades
    if stops is None or stops.take_profit is None:
        return
    ended = trades[trades["exit_reason"].isin(("stop_loss", "trailing_stop", "liquidation"))]
    side = np.where(ended["side"] == "long", 1.0, -1.0)
    level = ended["entry_price"] * (1.0 + side * stops.take_profit)
    best = pd.Series([_extreme(facts.result, trade) for trade in ended.itertuples()], index=ended.index, dtype=float)
    both = side * best >= side * level
    swing = float(((side * (level - ended["exit_price"])) * ended["quantity"])[both].sum())
    if swing > DOUBT_SHARE * abs(facts.net):
        message = (
            f"{int(both.sum())} trades ended in a bar that reached stop and take-profit; the stop was counted, "
            f"the other order would bring up to {swing:,.2f} more than the {facts.net:,.2f}; use shorter bars"
        )
        yield Finding("warning", "intrabar", message, {"trades": ended.index[both].tolist(), "swing": swing, "net": facts.net})


def _extreme(result: Result, trade) -> float:
    """The favourable extreme of the bar the trade ended in."""
    bars = result.legs[getattr(trade, "symbol", None)].bars
    return bars.at[trade.exit_time, "high" if trade.side == "long" else "low"]


def _disputed(facts: _Facts, disputed: pd.Series) -> Findings:
    trades = disputed_trades(facts.result, disputed)
    pnl = float(trades["pnl"].sum())
    without = facts.net - pnl
    if abs(pnl) > DOUBT_SHARE * abs(facts.net):
        message = f"{len(trades)} trades touch disputed bars and brought {pnl:,.2f}; without them: {without:,.2f} of {facts.net:,.2f}"
        values = {"trades": trades.index.tolist(), "pnl": pnl, "net_without": without}
        yield Finding(_graver(without * facts.net <= 0.0), "disputed_bars", message, values)


def _graver(severe: bool) -> Literal["severe", "warning"]:
    return "severe" if severe else "warning"

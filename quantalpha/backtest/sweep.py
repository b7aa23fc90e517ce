"""Many target paths over the same bars: each as `simulate` would have it, in memory that does not grow with their number."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import TYPE_CHECKING

import pandas as pd

from quantalpha.backtest.result import bars_per_year
from quantalpha.backtest.simulate import Tape, Target, check_rules, follow, market_of, plan_of
from quantalpha.errors import UsageError
from quantalpha.perp.account import Account
from quantalpha.perp.costs import Costs, Stops
from quantalpha.schema import check_index

if TYPE_CHECKING:
    from collections.abc import Hashable

Made = Target | Callable[[pd.DataFrame], Target]
Targets = pd.DataFrame | Mapping["Hashable", Made] | Iterable[tuple["Hashable", Made]]


def sweep(
    bars: pd.DataFrame, targets: Targets, *, account: Account, costs: Costs, stops: Stops | None = None, workers: int | None = None
) -> pd.DataFrame:
    """One row of metrics for each target path, in their order; index: their names (of several levels where those are tuples).

    targets: columns of a table, a mapping, or (name, target) pairs; a target may also be made on the way by a function of the bars, such as
    `partial(breakout, entry=20)`. Only a few are held at a time: a thousand paths over a year of minutes need no more memory than a
    handful. workers: threads, which share the bars; None: one a core.

    Columns: what `validation.path.annualised` says of the equity path, then n_fills, turnover (traded notional a year / mean equity), fees,
    slippage (positive: paid), funding (positive: received), liquidations. Raises as `simulate`.
    """
    from quantalpha.perp import clock
    from quantalpha.validation.path import annualised, equity_statistics

    check_index(bars, "bars")
    check_rules(account, stops)
    if isinstance(targets, pd.Series):
        raise UsageError("sweep: expected a table of targets, a mapping or (name, target) pairs, found one Series; use simulate")
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise UsageError(f"sweep: workers must be at least 1, found {workers}")
    market, yearly, kept = market_of(bars, costs), bars_per_year(bars.index), local()

    def one(named: tuple["Hashable", Target]) -> dict[str, float]:
        name, target = named
        target = target(bars) if callable(target) else target
        if not hasattr(kept, "tape"):
            kept.tape = Tape(len(bars))
        tape = kept.tape.rewound()
        follow(bars, market, plan_of(target, bars.index, f"target {name}", account), tape, (account, costs, stops), f" {name}")
        fills, paid = tape.fills(), tape.paid()
        return annualised(equity_statistics(tape.equity, account.initial_cash), yearly) | {
            "n_fills": float(len(fills)),
            "turnover": float(abs(fills[:, 2] * fills[:, 3]).sum() / tape.equity.mean()) * yearly / len(bars),
            "fees": float(fills[:, 4].sum()),
            "slippage": float(fills[:, 7].sum()),
            "funding": float(paid[:, 1].sum()),
            "liquidations": float((fills[:, 1] == clock.LIQUIDATION).sum()),
        }

    pairs = iter(targets.items() if isinstance(targets, pd.DataFrame | Mapping) else targets)
    with ThreadPoolExecutor(workers) as pool:
        found = list(_in_order(pool, one, pairs, 2 * workers))
    return pd.DataFrame([row for _, row in found], index=pd.Index([name for name, _ in found]))


def _in_order(pool: ThreadPoolExecutor, work: Callable, pairs: Iterator[tuple], ahead: int) -> Iterator[tuple]:
    """(name, result) of each pair in order; no more than `ahead` pairs are taken before their results are."""
    waiting: deque = deque()
    for pair in pairs:
        waiting.append((pair[0], pool.submit(work, pair)))
        if len(waiting) > ahead:
            name, future = waiting.popleft()
            yield name, future.result()
    for name, future in waiting:
        yield name, future.result()

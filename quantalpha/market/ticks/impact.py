"""How much of a price's moves its order flow explains: the regressions of Cont, Kukanov and Stoikov on bars of order flow.

"The price impact of order book events", J. Financial Econometrics 12 (2014): over 10 s the change of the mid is linear in the order-flow
imbalance (R2 around 65 % in 50 US stocks), explained less by trades, and its slope is about inverse to the depth.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.market.orderbook import bars_from_book
from quantalpha.market.ticks.captures import Capture
from quantalpha.market.ticks.trades import flow_bars

FEWEST = 20  # bars a regression needs


def robust_ols(y: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(coefficients, t, R2) of y on a constant and `columns`; t by White's errors (1980) with MacKinnon and White's correction (HC1)."""
    x = np.column_stack([np.ones(len(y)), *columns])
    if len(y) < max(FEWEST, x.shape[1] + 2):
        raise DataError(f"impact: expected at least {max(FEWEST, x.shape[1] + 2)} bars to fit, found {len(y)}; record for longer")
    inverse = np.linalg.pinv(x.T @ x)
    coefficients = inverse @ x.T @ y
    residual = y - x @ coefficients
    meat = (x * residual[:, None] ** 2).T @ x * len(y) / (len(y) - x.shape[1])
    t = coefficients / np.sqrt(np.diag(inverse @ meat @ inverse))
    return coefficients, t, 1 - residual @ residual / ((y - y.mean()) @ (y - y.mean()))


def impact_bars(capture: Capture, step: int) -> pd.DataFrame:
    """`flow_bars` of the best quotes whose bar before is known too, with `move`, the change of the mid in ticks. step: ms."""
    bars = flow_bars(capture.quotes, capture.trades, step)
    if len(bars) < FEWEST:
        raise DataError(
            f"impact: expected at least {FEWEST} bars of {step / 1000:g} s with an update in each, found {len(bars)}; record longer"
        )
    follows = np.diff(schema.epoch_ms(bars.index), prepend=0) == step
    return bars.assign(move=bars["mid"].diff() / capture.tick, signed_volume=bars["signed_volume"].fillna(0.0))[follows]


def impact_table(captures: Mapping[str, Capture], steps=(1_000, 10_000)) -> pd.DataFrame:
    """A row per capture and bar length (s): the move in ticks on the flow, on signed volume, on both, on the flow and its signed square.

    t's are heteroscedasticity-robust. slope: ticks that one mean queue of flow moves the mid; the paper's stylised book says 1/2.
    """
    rows = {}
    for name, capture in captures.items():
        for step in steps:
            rows[name, step / 1000] = _row(impact_bars(capture, step))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["capture", "seconds"])


def _row(bars: pd.DataFrame) -> dict:
    move, flow, signed = (bars[name].to_numpy() for name in ("move", "order_flow_imbalance", "signed_volume"))
    flow = flow / bars["depth"].mean()
    (_, slope), (_, t_flow), r2_flow = robust_ols(move, flow)
    _, (_, t_trade), r2_trade = robust_ols(move, signed)
    _, (_, t_flow_both, t_trade_both), r2_both = robust_ols(move, flow, signed)
    _, (_, _, t_square), r2_square = robust_ols(move, flow, flow * np.abs(flow))
    fits = {"bars": len(bars), "slope": slope, "t_flow": t_flow, "r2_flow": r2_flow, "t_trades": t_trade, "r2_trades": r2_trade}
    both = {"t_flow_beside": t_flow_both, "t_trades_beside": t_trade_both, "r2_both": r2_both}
    return fits | both | {"t_square": t_square, "r2_square": r2_square}


def impact_by_depth(captures: Mapping[str, Capture], step: int = 1_000, period: str = "1min") -> pd.DataFrame:
    """Per capture and period: slope (ticks per unit of flow in bars of `step` ms) and depth, each over its geometric mean in the capture.

    So captures of different ticks and contracts can be looked at together. Only slopes whose t is above 2.
    """
    rows = []
    for name, capture in captures.items():
        for _, bars in impact_bars(capture, step).groupby(pd.Grouper(freq=period)):
            if len(bars) < FEWEST:
                continue
            (_, slope), (_, t), _ = robust_ols(bars["move"].to_numpy(), bars["order_flow_imbalance"].to_numpy())
            rows.append({"capture": name, "slope": slope, "depth": bars["depth"].mean(), "t": t})
    table = pd.DataFrame(rows, columns=["capture", "slope", "depth", "t"])
    table = table[table["t"] > 2]
    means = np.log(table[["slope", "depth"]]).groupby(table["capture"]).transform("mean")
    return table.assign(**table[["slope", "depth"]] / np.exp(means))


def impact_by_levels(captures: Mapping[str, Capture], step: int = 1_000) -> pd.DataFrame:
    """Adjusted R2 of the move on the flows of the best 1, 2 ... levels, a column per capture that has levels."""
    deep = {name: capture.levels for name, capture in captures.items() if capture.levels is not None}
    found = {name: _by_levels(bars_from_book(levels, step)) for name, levels in deep.items()}
    return pd.DataFrame(found).rename_axis("levels")


def _by_levels(bars: pd.DataFrame) -> pd.Series:
    moves = bars["mid"].diff().to_numpy()[1:]
    flows = bars.filter(regex=r"^order_flow_imbalance_\d+$").to_numpy()[1:]
    fits = {}
    for levels in range(1, flows.shape[1] + 1):
        r2 = robust_ols(moves, *flows[:, :levels].T)[2]
        fits[levels] = 1 - (1 - r2) * (len(moves) - 1) / (len(moves) - levels - 1)
    return pd.Series(fits)

"""What the book may lose within a day, by historical simulation: the last bars of all its symbols together, so that what moves together
counts as that, scaled to a day.

The book's loss in bar t is L_t = -sum_i notional_i r_it / equity. With n bars and the level q, the value at risk is the smallest loss that
at least q n of the bars do not exceed, and the expected shortfall (CVaR) the mean of the losses at or beyond it (Rockafellar and Uryasev
2002, Conditional value-at-risk for general loss distributions). A loss of one bar is scaled by the square root of the bars a day has (J.P.
Morgan and Reuters 1996, RiskMetrics Technical Document, 4th edition), which takes returns of different bars to be uncorrelated: overlapping
days from so short a history would be a few observations only.
"""

import math
from dataclasses import dataclass

import numpy as np

from quantalpha.runner.events import OrderEvent
from quantalpha.runner.risk.base import Refusal, beyond, book
from quantalpha.runner.views import AccountView

DAY = 86_400_000  # ms


@dataclass(frozen=True)
class History:
    """How many closed bars a limit needs. required: fewer refuse (reason too_little_history: a venue); else they leave the limit unasked
    (paper, whose first bars have none)."""

    bars: int
    required: bool = True

    def lacking(self, order: OrderEvent, account: AccountView, symbols: list[str]) -> tuple[bool, Refusal | None]:
        """(whether there is too little to judge by, what to answer then)."""
        known = min(len(account.returns.get(symbol, ())) for symbol in symbols)
        if known >= self.bars and account.step > 0:
            return False, None
        values = {"bars": float(known), "needed": float(self.bars), "step": float(account.step)}
        return True, Refusal("too_little_history", values) if self.required else None


@dataclass(frozen=True)
class MaxTailLoss:
    """Value at risk and expected shortfall of a day, fractions of equity, after the order; a limit of None is not asked."""

    level: float
    max_var: float | None
    max_cvar: float | None
    history: History

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        after = {symbol: notional for symbol, notional in book(order, account).items() if notional != 0}
        if not after:
            return None
        lacking, answer = self.history.lacking(order, account, list(after))
        if lacking:
            return answer
        losses = daily_losses(after, account, self.history.bars)
        for reason, value, limit in zip(("var", "cvar"), tail(losses, self.level), (self.max_var, self.max_cvar)):
            refusal = None if limit is None else beyond(reason, value, limit)
            if refusal is not None:
                return refusal
        return None


def daily_losses(notionals: dict[str, float], account: AccountView, bars: int) -> np.ndarray:
    """(bars,) losses of the book, + lost, fractions of equity, each of one past bar scaled to a day."""
    returns = np.stack([np.asarray(account.returns[symbol], dtype=float)[-bars:] for symbol in notionals])
    return -(np.array(list(notionals.values())) @ returns) / account.equity * math.sqrt(DAY / account.step)


def tail(losses: np.ndarray, level: float) -> tuple[float, float]:
    """(value at risk, expected shortfall) at `level`; both NaN where a loss is."""
    ordered = np.sort(losses)
    first = math.ceil(level * len(losses) - 1e-9) - 1
    cvar = float(ordered[first:].mean())  # NaN is sorted to the end
    return (float(ordered[first]) if math.isfinite(cvar) else math.nan), cvar

"""Accounts of many random sequences at once, as the auditor keeps them: what stands behind a position, what it needs, what it is worth."""

import numpy as np
from sequences import CASH, Batch

from quantalpha.perp.costs import CEILING

NOISE = 1e-9


def near(left, right):
    return np.abs(left - right) <= NOISE * np.abs(right)


def toward_zero(value, step):
    """`value` in whole steps; step 0 leaves it alone."""
    steps = np.where(step > 0.0, step, 1.0)
    return np.where(step > 0.0, np.copysign(np.floor(np.abs(value) / steps * (1.0 + 1e-12)) * steps, value), value)


class Accounts:
    """The accounts as they stand, float64[sequences] and float64[sequences, symbols]."""

    def __init__(self, batch: Batch):
        self.batch, self.rules, self.market = batch, batch.rules, batch.market
        sequences, self.bars, self.symbols = batch.target.shape
        self.everyone, self.cash = np.arange(sequences), np.full(sequences, CASH)
        self.position, self.entry, self.best, self.count, self.price = np.zeros((5, sequences, self.symbols))
        self.coin, self.alone = self.rules.spot > 0.0, self.rules.alone > 0.0
        self.present = ~np.isnan(self.market.open)

    def profit(self, b, prices):
        return np.where(self.position[b] != 0.0, self.position[b] * (prices - self.entry[b]), 0.0)

    def maintenance(self, b, s, position, price):
        """Margin that positions must keep: the largest of their brackets' lines."""
        notional = np.where(position != 0.0, np.abs(position) * price, 0.0)
        lines = self.batch.rates[b, s] * notional[..., None] - self.batch.amounts[b, s]
        return np.maximum(lines.max(axis=-1), 0.0)

    def behind(self, b, prices):
        """Of sequences `b` at `prices`: margin of each position, the wallet it draws on, the maintenance margin the others need.

        A position that stands alone has its initial margin set aside, as far as the wallet has it: the coins first, then in order. Coins
        may be paid with the open profit of the cross positions; they owe nothing.
        """
        held, alone, coin, profit = self.position[b] != 0.0, self.alone[b], self.coin[b], self.profit(b, prices)
        initial, left = np.abs(self.position[b]) * self.entry[b] / self.rules.leverage[b], self.cash[b].copy()
        margin, wallet = np.zeros((2, *profit.shape))
        shared = np.where(alone, 0.0, profit)
        credit = np.maximum(shared.sum(axis=1), 0.0)
        for coins in (True, False):
            for s in range(self.symbols):
                turn = alone[:, s] & (coin[:, s] == coins)
                found = np.maximum(left + credit, 0.0) if coins else left
                wallet[turn, s] = (left + credit if coins else left)[turn]
                margin[:, s] = np.where(turn & held[:, s], np.minimum(initial[:, s], found), margin[:, s])
                left -= np.where(turn, margin[:, s], 0.0)
        support = (left + shared.sum(axis=1))[:, None] - shared
        needed = np.where(alone, 0.0, self.maintenance(b, slice(None), self.position[b], prices))
        others = np.where(alone, 0.0, needed.sum(axis=1)[:, None] - needed)
        return np.where(alone, margin, support), np.where(alone, wallet, support), others

    def worth(self, prices):
        """Equity: no position owes more than what stands behind it."""
        margin, _, _ = self.behind(self.everyone, prices)
        profit = self.profit(self.everyone, prices)
        apart = np.where(self.alone & (self.position != 0.0), margin, 0.0)
        shared = self.cash - apart.sum(axis=1) + np.where(self.alone, 0.0, profit).sum(axis=1)
        return np.maximum(shared, 0.0) + np.maximum(apart + np.where(self.alone, profit, 0.0), 0.0).sum(axis=1)

    def noise(self, prices):
        """What rounding may move, by symbol."""
        notional = np.abs(self.position) * (np.where(self.position != 0.0, prices, 0.0) + self.entry)
        return NOISE * (CASH + np.abs(self.cash)[:, None] + notional)

    def slip(self, i, b, s, quantity, quoted):
        modelled = self.market.spread[b, i, s] + self.market.impact[b, i, s] * np.sqrt(np.abs(quantity) * quoted)
        return np.where(np.isnan(self.rules.slippage[b, s]), np.minimum(modelled, CEILING), self.rules.slippage[b, s])

    def stops(self, b, s):
        """(stop-loss, trailing stop, the nearer of them times the side) of positions; NaN where there is none."""
        side = np.sign(self.position[b, s])
        with np.errstate(invalid="ignore"):
            levels = [
                base[b, s] * (1.0 - side * fraction[b, s])
                for base, fraction in ((self.entry, self.rules.stop_loss), (self.best, self.rules.trailing_stop))
            ]
        stop, trail = (np.where(np.isfinite(level), level, np.nan) for level in levels)
        return stop, trail, np.fmax(side * stop, side * trail)

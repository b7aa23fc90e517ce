"""Tiered maintenance margin: the larger a position, the more of it must be covered."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from quantalpha.errors import UsageError


class Bracket(NamedTuple):
    floor: float  # notional from which the bracket holds, quote currency
    rate: float  # maintenance margin, fraction of notional


def _table(*rows: tuple[float, float]) -> tuple[Bracket, ...]:
    return tuple(Bracket(*row) for row in rows)


M = 1_000_000.0
BTCUSDT = _table(
    (0.0, 0.004), (50_000.0, 0.005), (250_000.0, 0.01), (1 * M, 0.025), (5 * M, 0.05),
    (20 * M, 0.10), (50 * M, 0.125), (100 * M, 0.15), (200 * M, 0.25), (300 * M, 0.50),
)  # fmt: skip
ALTCOIN = _table((0.0, 0.01), (5_000.0, 0.025), (25_000.0, 0.05), (100_000.0, 0.10), (250_000.0, 0.125), (1 * M, 0.50))


def brackets_for(symbol: str) -> tuple[Bracket, ...]:
    """Maintenance brackets of a Binance USD-M perpetual, in USDT.

    BTCUSDT: as of 2021-06-22 (announcement "Updates on Leverage and Margin Tiers of Binance Futures Contracts" of that day). Every other
    symbol: the 50x altcoin table as of 2021-03-18 (announcement of that day), stricter than most contracts' own. Venues change these tables
    often and loosened them since; give `Account(brackets=...)` the table of your day where liquidation matters.
    """
    return BTCUSDT if symbol == "BTCUSDT" else ALTCOIN


def check_brackets(brackets: Sequence) -> tuple[Bracket, ...]:
    """`brackets` as a tuple of Bracket: floors rise from 0, rates rise within (0, 1)."""
    table = _table(*brackets)
    if not table or table[0].floor != 0.0:
        raise UsageError(f"account.brackets: expected (floor, rate) rows whose first floor is 0, found {brackets!r}")
    for bracket in table:
        if not 0.0 < bracket.rate < 1.0:
            raise UsageError(f"account.brackets: expected rates between 0 and 1, found {bracket.rate!r} at floor {bracket.floor!r}")
    for lower, upper in pairwise(table):
        if not (lower.floor < upper.floor < np.inf and lower.rate < upper.rate):
            raise UsageError(f"account.brackets: floors and rates must rise, found {tuple(lower)} before {tuple(upper)}")
    return table


def rates_and_amounts(brackets: Sequence[Bracket]) -> tuple[np.ndarray, np.ndarray]:
    """Rate and maintenance amount of each bracket: maintenance margin = rate * notional - amount.

    The amounts make the margin continuous at every floor: amount[0] = 0, amount[i] = amount[i-1] + floor[i] * (rate[i] - rate[i-1]).
    """
    floors, rates = np.array(brackets, dtype=float).T
    return rates.copy(), np.concatenate([[0.0], np.cumsum(floors[1:] * np.diff(rates))])


def maintenance_margin(notional: float, brackets: Sequence[Bracket]) -> float:
    """Margin (quote currency) that a position of `notional` must keep: the largest of the brackets' lines, since rates rise."""
    rates, amounts = rates_and_amounts(brackets)
    return float(np.max(rates * notional - amounts))

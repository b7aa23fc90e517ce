"""Tiered maintenance margin: the larger a position, the more of it must be covered. The venue changes its tables, so they are dated."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantalpha.errors import UsageError

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd


class Bracket(NamedTuple):
    floor: float  # notional from which the bracket holds, quote currency
    rate: float  # maintenance margin, fraction of notional


def _table(*rows: tuple[float, float]) -> tuple[Bracket, ...]:
    return tuple(Bracket(*row) for row in rows)


M = 1_000_000.0
ALTCOIN = _table((0.0, 0.01), (5_000.0, 0.025), (25_000.0, 0.05), (100_000.0, 0.10), (250_000.0, 0.125), (1 * M, 0.50))
BTCUSDT_2021 = _table(
    (0.0, 0.004), (50_000.0, 0.005), (250_000.0, 0.01), (1 * M, 0.025), (5 * M, 0.05),
    (20 * M, 0.10), (50 * M, 0.125), (100 * M, 0.15), (200 * M, 0.25), (300 * M, 0.50),
)  # fmt: skip
ALWAYS = "1970-01-01"
# An announced table starts when the announcement says (UTC). A recorded one was seen in the venue's answer to /fapi/v1/leverageBracket (as
# the freqtrade project stores it) and starts on the last day on which that can have been: when the nearest quarterly beside it expired.
ANY_OTHER = (
    (ALWAYS, ALTCOIN),  # announced 2021-03-18 for the 50x altcoins
    (  # announced 2025-09-15 for HIVEUSDT and others
        "2025-09-15T06:30",
        _table(
            (0.0, 0.015), (5_000.0, 0.025), (10_000.0, 0.05), (20_000.0, 0.10),
            (50_000.0, 0.125), (250_000.0, 0.1667), (4.5 * M, 0.25), (7.5 * M, 0.50),
        ),
    ),
)  # fmt: skip
SCHEDULES = {
    "BTCUSDT": (
        (ALWAYS, BTCUSDT_2021),  # unknown before 2021-03-18: the strictest known stands in
        (  # announced
            "2021-03-18T09:00",
            _table(
                (0.0, 0.004), (50_000.0, 0.005), (250_000.0, 0.01), (1 * M, 0.025), (10 * M, 0.05),
                (20 * M, 0.10), (50 * M, 0.125), (100 * M, 0.15), (200 * M, 0.25), (300 * M, 0.50),
            ),
        ),
        ("2021-06-22T03:30", BTCUSDT_2021),  # announced; recorded unchanged in September 2021
        (  # recorded in the third quarter of 2023
            "2023-09-29",
            _table(
                (0.0, 0.004), (50_000.0, 0.005), (250_000.0, 0.01), (3 * M, 0.025), (20 * M, 0.05),
                (40 * M, 0.10), (100 * M, 0.125), (120 * M, 0.15), (200 * M, 0.25), (300 * M, 0.50),
            ),
        ),
        (  # recorded in the third quarter of 2024
            "2024-09-27",
            _table(
                (0.0, 0.004), (50_000.0, 0.005), (600_000.0, 0.0065), (3 * M, 0.01), (12 * M, 0.02), (70 * M, 0.025),
                (100 * M, 0.05), (230 * M, 0.10), (480 * M, 0.125), (600 * M, 0.15), (800 * M, 0.25), (1200 * M, 0.50),
            ),
        ),
        (  # recorded in the first quarter of 2026
            "2026-03-27",
            _table(
                (0.0, 0.004), (300_000.0, 0.005), (800_000.0, 0.0065), (3 * M, 0.01), (12 * M, 0.02), (70 * M, 0.025),
                (100 * M, 0.05), (230 * M, 0.10), (480 * M, 0.125), (600 * M, 0.15), (800 * M, 0.25), (1200 * M, 0.50),
            ),
        ),
    ),
    "ETHUSDT": (
        (  # recorded in September 2021; unknown before, and no stricter one is known
            ALWAYS,
            _table(
                (0.0, 0.005), (10_000.0, 0.0065), (100_000.0, 0.01), (500_000.0, 0.02), (1 * M, 0.05),
                (2 * M, 0.10), (5 * M, 0.125), (10 * M, 0.15), (20 * M, 0.25),
            ),
        ),
        (  # recorded in the third quarter of 2023
            "2023-09-29",
            _table(
                (0.0, 0.005), (100_000.0, 0.0065), (250_000.0, 0.01), (2 * M, 0.02), (15 * M, 0.05),
                (30 * M, 0.10), (60 * M, 0.125), (80 * M, 0.15), (100 * M, 0.25), (150 * M, 0.50),
            ),
        ),
        (  # recorded in the third quarter of 2024
            "2024-09-27",
            _table(
                (0.0, 0.004), (50_000.0, 0.005), (600_000.0, 0.0065), (3 * M, 0.01), (12 * M, 0.02), (50 * M, 0.025),
                (65 * M, 0.05), (150 * M, 0.10), (320 * M, 0.125), (400 * M, 0.15), (530 * M, 0.25), (800 * M, 0.50),
            ),
        ),
        (  # recorded in the first quarter of 2026
            "2026-03-27",
            _table(
                (0.0, 0.004), (300_000.0, 0.005), (800_000.0, 0.0065), (3 * M, 0.01), (12 * M, 0.02), (50 * M, 0.025),
                (65 * M, 0.05), (150 * M, 0.10), (320 * M, 0.125), (400 * M, 0.15), (530 * M, 0.25), (800 * M, 0.50),
            ),
        ),
    ),
}  # fmt: skip


def bracket_schedule(symbol: str) -> tuple[tuple["pd.Timestamp", tuple[Bracket, ...]], ...]:
    """Every known maintenance table of a Binance USD-M perpetual (notional in USDT) and the UTC time from which it holds, oldest first.

    Tables no source was found for are missing; until the next known one holds, the older stands. That errs to the strict side: up to 200
    million of notional each later one is looser, but for BTCUSDT in June 2021, whose day is known. BTCUSDT and ETHUSDT have their own
    tables; every other symbol has those of the venue's small altcoins, stricter than its large ones' and looser than its smallest ones'.
    `Account(brackets=...)` takes what is known better.
    """
    import pandas as pd

    if not (symbol.isascii() and symbol.isalnum() and symbol == symbol.upper()):
        raise UsageError(f"brackets: expected the venue's own symbol such as BTCUSDT, found {symbol!r}")
    return tuple((pd.Timestamp(start, tz="UTC"), table) for start, table in SCHEDULES.get(symbol, ANY_OTHER))


def brackets_for(symbol: str, at: "pd.Timestamp | date | str | None" = None) -> tuple[Bracket, ...]:
    """The table of `bracket_schedule` in force at `at` (UTC where it names no zone); None: the latest known."""
    import pandas as pd

    schedule = bracket_schedule(symbol)
    if at is None:
        return schedule[-1][1]
    try:
        time = pd.Timestamp(at)
    except (TypeError, ValueError) as error:
        raise UsageError(f"brackets_for: expected a date or time such as '2023-01-01', found {at!r}") from error
    if pd.isna(time):
        raise UsageError(f"brackets_for: expected a date or time such as '2023-01-01', found {at!r}")
    time = time.tz_localize("UTC") if time.tz is None else time
    return [table for start, table in schedule if start <= time or start == schedule[0][0]][-1]


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

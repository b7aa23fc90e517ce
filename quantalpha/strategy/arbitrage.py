"""Two legs of one coin against each other: what is bought on one is sold on the other, so that the coin's own price cancels.

Both legs go through the ledger as two symbols of one account: `simulate(bars, funding_arbitrage(bars), ...)`. Targets stand on the times at
which both legs have a bar, in the columns' order of `bars`. The legs drift apart in notional as the price moves: give the account a
rebalance band, or a coin that doubles eats the margin of the short leg.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError
from quantalpha.strategy.parts import annual_carry, check_that, check_whole, latch, moving, sides


def funding_arbitrage(
    bars: Mapping[str, pd.DataFrame],
    window: float = 7.0,
    holding: float = 30.0,
    round_trip: float = 0.002,
    leave: float = 0.0,
    weight: float = 0.5,
) -> pd.DataFrame:
    """Long the first leg (spot, or a venue with less funding), short the second (a perpetual with `funding_rate`), to receive its funding.

    carry = what shorts of the second leg, net of what longs of the first, have received a year, from the last `window` days; a first leg
    without `funding_rate` pays none (spot). In when carry * holding / 365 > round_trip: what `holding` days are expected to pay covers
    getting in and out of both legs. Out when carry <= leave. Targets are +weight and -weight, or 0.

    window, holding: days. round_trip: fraction of one leg's notional, fees and slippage of all four trades. leave: fraction a year.
    weight: of the equity, each leg; both together must fit the account's leverage.

    Wants crowded longs who pay for leverage. Killed by funding that turns before the costs are earned, by a perpetual that rises above
    the spot while short (a loss until it returns), and by a venue that fails with one leg. The mirror image (short spot) would
    need a coin loan and is left out. Source: Schmeling, Schrimpf and Todorov, "Crypto carry" (2023).
    """
    for name, days in (("window", window), ("holding", holding)):
        check_that(0 < days < np.inf, "funding_arbitrage", f"{name} above 0 days", days)
    check_that(0 <= round_trip < 1, "funding_arbitrage", "round_trip in [0, 1)", round_trip)
    check_that(leave <= round_trip * 365 / holding, "funding_arbitrage", "leave <= round_trip * 365 / holding", leave)
    check_that(0 < weight <= 1, "funding_arbitrage", "0 < weight <= 1", weight)
    (first, held), (second, sold) = _legs(bars)
    carry = annual_carry(sold, window)
    if "funding_rate" in held:
        carry = carry - annual_carry(held, window)
    values = carry.to_numpy()
    on = latch(values * holding / 365 > round_trip, ~(values > leave))
    target = sides(on, np.zeros(len(on)), carry.index) * weight
    return pd.DataFrame({first: target, second: -target})


def basis_arbitrage(
    bars: Mapping[str, pd.DataFrame],
    window: int = 240,
    enter: float = 2.0,
    exit: float = 0.5,
    holding: float = 1.0,
    round_trip: float = 0.002,
    weight: float = 0.5,
) -> pd.DataFrame:
    """Short the dearer of two perpetuals of one coin (both with `funding_rate`) and long the cheaper, until the gap closes.

    gap = log(close of the first / close of the second); carry = annualised funding of the first less that of the second, over the last
    `holding` days. What a short of the first against a long of the second expects to earn in `holding` days, a fraction of one leg:
        edge = (gap - mean(gap, window)) + carry * holding / 365,        score = edge / std(gap, window)
    In when score >= enter and edge > round_trip, out when score <= exit; the other side is the mirror image.

    window: bars. enter, exit: deviations of the gap. holding: days. round_trip: fees and slippage of all four trades, a fraction of one
    leg's notional. weight: of the equity, each leg.

    Wants two books that lose touch for a while. Killed by a gap that is justified (a venue in trouble, a coin that cannot be withdrawn) and
    by costs: the gap is often smaller than four taker fees. Source: Makarov and Schoar, "Trading and arbitrage in cryptocurrency
    markets" (2020); hysteresis as in Avellaneda and Lee (2010).
    """
    check_whole("basis_arbitrage", 2, window=window)
    check_that(0 <= exit < enter < np.inf, "basis_arbitrage", "0 <= exit < enter deviations", exit, enter)
    check_that(0 < holding < np.inf, "basis_arbitrage", "holding above 0 days", holding)
    check_that(0 <= round_trip < 1, "basis_arbitrage", "round_trip in [0, 1)", round_trip)
    check_that(0 < weight <= 1, "basis_arbitrage", "0 < weight <= 1", weight)
    (first, one), (second, other) = _legs(bars)
    gap = np.log(one["close"] / other["close"])
    carry = annual_carry(one, holding) - annual_carry(other, holding)
    edge = gap - gap.rolling(window).mean() + carry * holding / 365
    deviation = gap.rolling(window).std()
    score, edge = (edge / moving(deviation)).to_numpy(), edge.to_numpy()
    long = latch((score <= -enter) & (edge < -round_trip), ~(score < -exit))
    short = latch((score >= enter) & (edge > round_trip), ~(score > exit))
    target = sides(long, short, gap.index) * weight
    return pd.DataFrame({first: target, second: -target})


def _legs(bars: Mapping[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame]]:
    """The two (name, bars) on the times they share."""
    if not isinstance(bars, Mapping) or len(bars) != 2:
        found = list(bars) if isinstance(bars, Mapping) else type(bars).__name__
        raise UsageError(f"arbitrage: expected a mapping of two legs, name -> bars, found {found}")
    one, other = bars.values()
    shared = one.index.intersection(other.index)
    return [(name, leg.loc[shared]) for name, leg in bars.items()]

"""One rule on many symbols of one account."""

from collections.abc import Callable, Mapping

import pandas as pd

from quantalpha.strategy.sizing import cap_exposure, volatility_target


def panel(
    bars: Mapping[str, pd.DataFrame], rule: Callable[..., pd.Series], *, annual: float = 0.4, gross: float = 1.0, **params
) -> pd.DataFrame:
    """`rule(bars, **params)` on every symbol, each at the same risk and an equal share of the account; a column a symbol.

    A symbol's target is its rule's, scaled to `annual` volatility (a fraction a year, see `volatility_target`), over the number of symbols
    that have a bar then; if their sizes add up to more than `gross`, all are made smaller in proportion. The account's own volatility
    comes out below `annual`, by as much as the symbols differ. 0 where a symbol has no bar. Wants a rebalance band.
    """
    sized = {symbol: volatility_target(rule(table, **params), table["close"], annual=annual) for symbol, table in bars.items()}
    targets = pd.DataFrame(sized)
    return cap_exposure(targets.div(targets.notna().sum(axis=1), axis=0).fillna(0.0), gross=gross)

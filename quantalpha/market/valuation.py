"""What a coin's market capitalisation says beside what its holders paid: MVRV and its Z-score."""

import pandas as pd

MARKET, REALISED, RATIO, SCORE = "CapMrktCurUSD", "CapRealUSD", "CapMVRVCur", "mvrv_z"  # Coin Metrics' names, and ours
YEAR = 365  # days before the spread of the market capitalisation is called known


def valuation(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Realised capitalisation, MVRV and MVRV Z-score by day, as far as two of market, realised capitalisation and MVRV are in the table.

    Realised capitalisation values each coin at the price at which it last moved: Coin Metrics' CapRealUSD, or market / MVRV
    (docs.coinmetrics.io: CapMVRVCur is CapMrktCurUSD / CapRealUSD).
    """
    if MARKET not in table or not {REALISED, RATIO} & set(table):
        return {}
    market = table[MARKET]
    realised = table[REALISED] if REALISED in table else market / table[RATIO]
    ratio = table[RATIO] if RATIO in table else market / realised
    return {REALISED: realised, RATIO: ratio, SCORE: mvrv_z_score(market, realised)}


def mvrv_z_score(market: pd.Series, realised: pd.Series) -> pd.Series:
    """(market - realised capitalisation) / standard deviation of the market capitalisation of this day and all before.

    Glassnode's definition (studio.glassnode.com, market.MvrvZScore), whose deviation is cumulative from the first day on. Taken over the
    whole of a series, as charts often do, it would know how volatile the future is. Dollars; 7 is a market far above what was paid, below 0
    one that loses. Sample deviation; NaN before 365 days are known.
    """
    return (market - realised) / market.expanding(min_periods=YEAR).std()

"""How to share an account among symbols: weights from trailing returns only. The one door of skfolio."""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.strategy.parts import check_whole

OTHER_SCALE = 100.0  # the same problem in other units: the solver fails on about one in 200 with many symbols and few bars
METHODS = ("equal", "inverse_volatility", "equal_risk", "minimum_variance")


def portfolio_weights(
    closes: pd.DataFrame, *, window: int, every: int, method: str = "equal_risk", universe: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Weights (a column a symbol, each >= 0, a row adds up to at most 1) known at each close, renewed every `every` bars.

    closes: NaN where a symbol does not trade. At a renewal a symbol takes part if its last `window` + 1 closes are all known and not all
    the same and, where a `universe` (bool, same shape, known at the close) is given, it is a member then: a symbol not yet listed has no
    weight, one no longer listed or no longer a member has none from that bar on, and the others keep theirs until the next renewal. The
    first renewal is at row `window`. Multiply by targets: `weights * targets`.

    method: "equal"; "inverse_volatility", 1 / standard deviation; "equal_risk", every symbol contributes the same to the variance
    (Maillard, Roncalli and Teiletche, 2010); "minimum_variance", long only. The last two take the covariance of Ledoit and Wolf (2004), as
    a sample covariance of few bars and many symbols is mostly noise.
    """
    if method not in METHODS:
        raise UsageError(f"portfolio_weights: method {method!r}; {did_you_mean(method, METHODS)}")
    check_whole("portfolio_weights", 2, window=window)
    check_whole("portfolio_weights", 1, every=every)
    member = closes.notna()
    if universe is not None:
        member &= universe.reindex(index=closes.index, columns=closes.columns, fill_value=False)
    returns = closes.pct_change(fill_method=None)
    trailing = returns.rolling(window)
    eligible = (member & (trailing.count() == window) & (trailing.std() > 0)).to_numpy()
    weights = np.full(closes.shape, np.nan)
    for row in range(window, len(closes), every):
        past = returns.iloc[row - window + 1 : row + 1, eligible[row]]
        weights[row] = 0.0
        weights[row, eligible[row]] = _weights(past, method)
    held = pd.DataFrame(weights, index=closes.index, columns=closes.columns).ffill().fillna(0.0)
    return held.where(member.groupby(_renewals(len(closes), window, every)).cummin().to_numpy(dtype=bool), 0.0)


def _renewals(rows: int, window: int, every: int) -> np.ndarray:
    """int64[rows]: number of the renewal whose weights a row holds; negative before the first."""
    return (np.arange(rows) - window) // every


def _weights(returns: pd.DataFrame, method: str) -> np.ndarray:
    """float64[symbols] that add up to 1 from returns of the window."""
    count = returns.shape[1]
    if count < 2 or method == "equal":
        return np.full(count, 1 / max(count, 1))
    scaled = returns / returns.to_numpy().std()  # a common factor changes no weight, but the solver fails on small variances
    try:
        return np.asarray(_estimator(method).fit(scaled).weights_, dtype=float)
    except Exception as error:  # skfolio raises whatever its solver does
        raise DataError(f"portfolio_weights: {method} found no weights for {count} symbols at {returns.index[-1]}: {error}") from error


def _estimator(method: str):
    from skfolio import RiskMeasure
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import InverseVolatility, MeanRisk, RiskBudgeting
    from skfolio.prior import EmpiricalPrior

    if method == "inverse_volatility":
        return InverseVolatility()
    optimizer = RiskBudgeting if method == "equal_risk" else MeanRisk  # MeanRisk's default objective is the least risk
    common = {"risk_measure": RiskMeasure.VARIANCE, "prior_estimator": EmpiricalPrior(covariance_estimator=LedoitWolf())}
    return optimizer(**common, fallback=optimizer(**common, scale_objective=OTHER_SCALE))

"""What trading costs and when a position is closed by itself. Fractions: 0.0005 is 5 basis points."""

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from quantalpha.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

DAY_MS = 86_400_000.0
CEILING = 0.05  # largest slippage fraction: beyond it a model of small costs says nothing
IMPACT = 0.8  # measured, see Slippage
UNKNOWN_VOLATILITY = 0.10  # daily, of the bar imagined before the first: a violent day, three times Bitcoin's usual one


def check(name: str, value: float, low: float, high: float, *, inclusive: bool | str = True) -> None:
    """Refuse a number outside [low, high) ((low, high) when not inclusive, [low, high] for "both")."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    within = number and (value < high or inclusive == "both" and value == high) and (value > low or inclusive and value == low)
    if not within:
        last = "]" if inclusive == "both" else ")"
        raise UsageError(f"{name}: expected a number in {'[' if inclusive else '('}{low:g}, {high:g}{last}, found {value!r}")


def check_count(name: str, value: int, low: int) -> None:
    """Refuse what is no whole number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise UsageError(f"{name}: expected a whole number of at least {low}, found {value!r}")


@dataclass(frozen=True)
class Slippage:
    """What a taker loses against the open he fills at, growing with volatility and size.

    An order of notional N at the open of bar i loses the fraction

        half_spread + sigma_i * sqrt(2 / pi) * sqrt(latency_ms / day) + impact * sigma_i * sqrt(N / V_i),  at most CEILING

    sigma_i: daily volatility (root of the squared log returns' sum per day), V_i: mean daily quote volume, both over the `window` bars
    before bar i. The square root of the share of a day's volume is the empirical law of market impact: Almgren, Thum, Hauptmann, Li 2005,
    "Direct estimation of equity market impact"; Toth et al. 2011, "Anomalous price impact and the critical nature of liquidity".
    Latency: sqrt(2 / pi) is the mean of |z| for a standard normal z, so the whole expected move of that time is charged, always against the
    trader. A driftless price would cost nothing on average, but the signal that asks for the trade moves the others too.

    IMPACT is what the net taker flow of ten seconds moved the price by on Binance USD-M: 0.82 (BTCUSDT, 2023-04-04), 0.75 (BTCUSDT) and
    0.83 (ETHUSDT, both 2024-08-08); half spreads 0.018, 0.009 and 0.019 basis points. All of the move is charged, though others had their
    part in it. The book as displayed is cheaper, 0.11, 0.07 and 0.13 for the 20,000 to 50,000 USDT its ten best levels hold: that is the
    price of the first blow, before the book answers.
    """

    half_spread: float  # fraction of the mid price
    impact: float = IMPACT  # sigmas of a day for an order as large as a day's volume
    latency_ms: float = 0.0  # from the decision's price to the fill
    window: int = 240  # bars: four hours of 1m, ten days of 1h

    def __post_init__(self):
        check("slippage.half_spread", self.half_spread, 0.0, CEILING)
        check("slippage.impact", self.impact, 0.0, 100.0)
        check("slippage.latency_ms", self.latency_ms, 0.0, DAY_MS)
        check_count("slippage.window", self.window, 2)

    @classmethod
    def calibrated(
        cls,
        ticker: "pd.DataFrame",
        book: "pd.DataFrame | None" = None,
        trades: "pd.DataFrame | None" = None,
        *,
        volatility: float,
        daily_volume: float,
        latency_ms: float = 0.0,
        window: int = 240,
    ) -> "Slippage":
        """The model of a recorded session: half spread of `ticker`, impact the dearer of what `book` and `trades` say (neither: IMPACT).

        Frames as in `perp.calibration`; volatility (daily) and daily_volume (quote currency) of the days before it.
        """
        from quantalpha.perp import calibration

        measured = []
        if book is not None:
            measured.append(calibration.walked_impact(book, volatility, daily_volume))
        if trades is not None:
            measured.append(calibration.flow_impact(trades, volatility, daily_volume))
        return cls(calibration.half_spread(ticker), max(measured, default=IMPACT), latency_ms, window)

    def stressed(self, factor: float) -> "Slippage":
        """Every part `factor` times as dear; the move during latency grows with the root of time, hence the square."""
        return replace(
            self, half_spread=self.half_spread * factor, impact=self.impact * factor, latency_ms=self.latency_ms * factor * factor
        )

    def curves(self, bars: "pd.DataFrame") -> tuple[np.ndarray, np.ndarray]:
        """(base[n], impact[n]), float64: an order of notional N at the open of bar i loses min(base[i] + impact[i] * sqrt(N), CEILING).

        Row i uses rows before i and the time of row i; live, the last `window` + 2 bars give the same last row as all of them would.
        `bars` as in the schema; without `quote_volume` close * volume stands for it.
        While fewer than `window` bars are known, those known count, with one imagined bar before the first: volatile (UNKNOWN_VOLATILITY)
        and without volume, so that the first bars are dear. A window without volume costs CEILING where there is impact at all.
        """
        squares, volume, days = _history(bars, self.window)
        sigma = np.sqrt(squares / days)
        base = np.minimum(self.half_spread + sigma * math.sqrt(2.0 / math.pi * self.latency_ms / DAY_MS), CEILING)
        if self.impact == 0.0:
            return base, np.zeros_like(base)
        traded = volume > 0.0
        impact = self.impact * sigma * np.sqrt(np.divide(days, volume, out=np.zeros_like(base), where=traded))
        return np.where(traded, base, CEILING), impact


@dataclass(frozen=True)
class Costs:
    """Fractions of the notional actually traded."""

    maker: float  # fee of a resting order; negative is a rebate
    taker: float  # fee of an order that fills at once
    slippage: float | Slippage  # a taker buys this much above and sells this much below the quoted price
    liquidation: float  # fee of a forced close
    delay: int = 0  # whole bars an order waits beyond the next open

    def __post_init__(self):
        check("costs.maker", self.maker, -0.01, 0.1)
        for name in ("taker", "liquidation") if isinstance(self.slippage, Slippage) else ("taker", "slippage", "liquidation"):
            check(f"costs.{name}", getattr(self, name), 0.0, 0.1)
        check_count("costs.delay", self.delay, 0)

    def stressed(self, factor: float) -> "Costs":
        """These costs `factor` times as high (0: none at all, 1: unchanged, 2: twice); the delay stays.

        A rebate is income, so more stress means less of it: above 1 it shrinks by itself for every further 1, is gone at 2 and a fee from
        there on. At 0 it is gone with everything else.
        """
        check("factor", factor, 0.0, math.inf)
        slippage = self.slippage.stressed(factor) if isinstance(self.slippage, Slippage) else self.slippage * factor
        maker = self.maker * (2.0 - factor if self.maker < 0.0 and factor > 1.0 else factor)
        return replace(self, maker=maker, taker=self.taker * factor, slippage=slippage, liquidation=self.liquidation * factor)


@dataclass(frozen=True)
class Stops:
    """What closes a position without a new target; None: nothing of the kind."""

    stop_loss: float | None = None  # 0.02 closes a long 2 % below its average fill price
    take_profit: float | None = None  # 0.02 closes a long 2 % above it
    trailing_stop: float | None = None  # 0.02 closes a long 2 % below the best price of its earlier bars
    max_bars: int | None = None  # closes it at the open after this many closes

    def __post_init__(self):
        for name, high in (("stop_loss", 1.0), ("take_profit", math.inf), ("trailing_stop", 1.0)):
            if getattr(self, name) is not None:
                check(f"stops.{name}", getattr(self, name), 0.0, high, inclusive=False)
        if self.max_bars is not None:
            check_count("stops.max_bars", self.max_bars, 1)


def _history(bars: "pd.DataFrame", window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the `window` bars before each row: sum of squared log returns, sum of quote volume, days they lasted; see `Slippage.curves`."""
    from quantalpha.schema import epoch_ms

    close, time = bars["close"].to_numpy(float), epoch_ms(bars.index)
    before = np.append(bars["open"].to_numpy(float)[:1], close[:-1])
    volume = close * bars["volume"].to_numpy(float)
    if "quote_volume" in bars:
        quoted = bars["quote_volume"].to_numpy(float)
        volume = np.where(np.isnan(quoted), volume, quoted)
    squares, days = window_sums(np.log(close / before) ** 2, window), np.empty(close.size)
    days[:window] = (time[:window] - time[0] + (time[1] - time[0] if time.size > 1 else DAY_MS)) / DAY_MS
    days[window:] = (time[window:] - time[:-window]) / DAY_MS
    squares[:window] += UNKNOWN_VOLATILITY**2 * days[0]
    return squares, window_sums(volume, window), days


def window_sums(values: np.ndarray, window: int) -> np.ndarray:
    """float64[n]: the sum of the `window` values before each row, fewer at the start, 0.0 at row 0.

    A window is the end of one block of `window` values and the start of the next, so nothing is ever subtracted: no cancellation, a window
    of zeros sums to exactly zero, and no value counts before its row.
    """
    n = values.size
    padded = np.zeros((n // window + 2) * window)
    padded[window : window + n] = values
    blocks = padded.reshape(-1, window)
    ends = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1].ravel()  # from here to the end of the block
    starts = np.zeros_like(blocks)
    np.cumsum(blocks[:, :-1], axis=1, out=starts[:, 1:])  # from the start of the block to just before here
    return ends[:n] + starts.ravel()[window : window + n]

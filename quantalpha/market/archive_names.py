"""What lies where in Binance's public archive, by its README (github.com/binance/binance-public-data) and its files.

    data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip
    data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2024-01-05.zip
    data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-05.zip

and beside each its checksum, name.zip.CHECKSUM: 'sha256  name.zip'. CSVs come with and without a header. Spot counts in microseconds from
2025 on. `metrics` holds open interest every five minutes, by the day alone; funding rates come by the month alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from quantalpha import timeframe
from quantalpha.errors import UsageError, did_you_mean
from quantalpha.market.kinds import FUNDING, INDEX, INTEREST, MARK, month_bounds

DAY = timeframe.UNITS["d"]
VENUES = {"futures/um": "binanceusdm", "spot": "binance"}  # ccxt's names: what REST fetches and what the archive holds meet in one month
METRICS, FUNDING_RATE = "metrics", "fundingRate"
BARS = {"klines": "", "markPriceKlines": MARK, "indexPriceKlines": INDEX}  # prefixes of the lake's kinds
PERIODS = ("monthly", "daily")
FIVE_MINUTES = "5m"
SHORTEST_FUNDING = timeframe.UNITS["h"]

KLINE_COLUMNS = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
METRIC_COLUMNS = (
    *("create_time", "symbol", "sum_open_interest", "sum_open_interest_value", "count_toptrader_long_short_ratio"),
    *("sum_toptrader_long_short_ratio", "count_long_short_ratio", "sum_taker_long_short_vol_ratio"),
)
PRICES = {name: name for name in ("open", "high", "low", "close")}
TRADED = {"volume": "volume", "quote_volume": "quote_volume", "trades": "count", "taker_buy_volume": "taker_buy_volume"}


@dataclass(frozen=True)
class Columns:
    """Those of a CSV in order, where there is no header; the one of times; and the lake's name of each that is taken: {ours: theirs}."""

    names: tuple[str, ...]
    time: str
    taken: dict[str, str]


def columns(dataset: str) -> Columns:
    if dataset == METRICS:
        return Columns(METRIC_COLUMNS, "create_time", {"open_interest": "sum_open_interest"})
    if dataset == FUNDING_RATE:
        rate = {"funding_rate": "last_funding_rate"}
        return Columns(("calc_time", "funding_interval_hours", "last_funding_rate"), "calc_time", rate)
    return Columns(KLINE_COLUMNS, "open_time", PRICES | (TRADED if dataset == "klines" else {}))


@dataclass(frozen=True, order=True)
class Series:
    """One symbol's files of one dataset. interval: of bars, or the grid on which open interest is taken; None for funding."""

    market: str
    dataset: str
    symbol: str
    interval: str | None

    @property
    def kind(self) -> str:
        if self.dataset == FUNDING_RATE:
            return FUNDING
        return (INTEREST if self.dataset == METRICS else BARS[self.dataset]) + self.interval

    @property
    def step(self) -> int | None:
        """Milliseconds between rows; None for funding."""
        return None if self.interval is None else timeframe.milliseconds(self.interval)

    def folder(self, period: str) -> str:
        deeper = f"/{self.interval}" if self.dataset in BARS else ""
        return f"data/{self.market}/{period}/{self.dataset}/{self.symbol}{deeper}"

    @property
    def as_filed(self) -> "Series":
        """As the archive keeps it: open interest at every five minutes, whatever grid is taken from it."""
        return replace(self, interval=FIVE_MINUTES) if self.dataset == METRICS else self

    def file(self, label: str) -> "ArchiveFile":
        return ArchiveFile(self, label)


@dataclass(frozen=True)
class ArchiveFile:
    """The zip of a series for one UTC month ('2024-01') or day ('2024-01-05')."""

    series: Series
    label: str

    @property
    def name(self) -> str:
        middle = self.series.interval if self.series.dataset in BARS else self.series.dataset
        return f"{self.series.symbol}-{middle}-{self.label}.zip"

    @property
    def period(self) -> str:
        return PERIODS[len(self.label) > 7]

    @property
    def path(self) -> str:
        return f"{self.series.folder(self.period)}/{self.name}"

    @property
    def month(self) -> str:
        return self.label[:7]

    @property
    def span(self) -> tuple[int, int]:
        """[first, last millisecond that a row may be named by]. Open interest of a day may end with the next midnight's."""
        if self.period == "monthly":
            begin, end = month_bounds(self.label)
        else:
            begin = int(np.datetime64(self.label, "ms").astype("int64"))
            end = begin + DAY
        return begin, end if self.series.dataset == METRICS else end - 1

    @property
    def exists_in_archive(self) -> bool:
        """Funding rates come by the month alone, open interest by the day."""
        return self.series.dataset not in (FUNDING_RATE, METRICS) or (self.period == "monthly") == (self.series.dataset == FUNDING_RATE)

    def overlaps(self, start: int, end: int) -> bool:
        begin, last = self.span
        return begin < end and last >= start

    @property
    def most_rows(self) -> int:
        """No sound file has more."""
        begin, last = self.span
        step = timeframe.milliseconds(FIVE_MINUTES) if self.series.dataset == METRICS else self.series.step or SHORTEST_FUNDING
        return (last - begin) // step + 2


_FOLDER = "|".join(VENUES)
_SETS = "|".join([*BARS, METRICS, FUNDING_RATE])
PLACE = re.compile(rf"(?:^|/)({_FOLDER})/({'|'.join(PERIODS)})/({_SETS})/([A-Z0-9]{{2,30}})(?:/([0-9]+[mhd]))?$")
LABEL = re.compile(r"-(\d{4}-\d\d(?:-\d\d)?)\.zip$")


def series_of(folder: str) -> tuple[Series, str] | None:
    """(series, period) of a folder's path with forward slashes; None where the archive has no such folder, or the lake no such kind."""
    found = PLACE.search(folder)
    if found is None or (found[3] in BARS) != (found[5] is not None) or (found[5] and not timeframe.is_timeframe(found[5])):
        return None
    return Series(found[1], found[3], found[4], FIVE_MINUTES if found[3] == METRICS else found[5]), found[2]


def file_of(series: Series, name: str) -> ArchiveFile | None:
    """The file of that name; None where it is none of the series: a checksum, a partial download, another name."""
    label = LABEL.search(name)
    if label is None:
        return None
    try:
        np.datetime64(label[1])
    except ValueError:
        return None
    file = series.file(label[1])
    return file if file.name == name else None


def series_for(kind: str, symbol: str, market: str) -> Series:
    """The series that fills a kind of the lake: 'mark-1h' -> markPriceKlines of 1h. UsageError: the archive has none."""
    datasets = {prefix: name for name, prefix in BARS.items()} | {INTEREST: METRICS}
    prefix = next((each for each in (MARK, INDEX, INTEREST) if kind.startswith(each)), "")
    bar = kind.removeprefix(prefix)
    if kind == FUNDING:
        found = Series(market, FUNDING_RATE, symbol, None)
    elif timeframe.is_timeframe(bar) and (prefix != INTEREST or timeframe.milliseconds(bar) % timeframe.milliseconds(FIVE_MINUTES) == 0):
        found = Series(market, datasets[prefix], symbol, bar)
    else:
        known = [FUNDING, *(each + "1h" for each in datasets)]
        raise UsageError(f"--kind: the archive has nothing for {kind!r}; {did_you_mean(kind, known)}")
    if market == "spot" and found.dataset != "klines":
        raise UsageError(f"--kind {kind}: the spot archive holds traded bars alone; name a kind such as '1h', or --market futures/um")
    return found


def days(month: str) -> Iterator[str]:
    """'2024-01' -> '2024-01-01' ... '2024-01-31'."""
    first = np.datetime64(month, "M")
    yield from map(str, np.arange(first, first + 1, dtype="datetime64[D]"))

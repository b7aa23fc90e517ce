"""What is to be fetched: the kinds that parameters name, and the spans of each that the lake does not hold yet."""

from typing import NamedTuple

from quantalpha import config, schema, timeframe
from quantalpha.market.connect import BINANCE
from quantalpha.market.exchange import OVERLAP
from quantalpha.market.kinds import FUNDING, bar_length, index_kind, interest_kind, mark_kind, month_bounds, months
from quantalpha.market.passport import REPAIRED, Passport
from quantalpha.market.store import Lake

READ = ("bars", "mark", "index", "funding")  # what research reads, and venues serve in full at any time
INTEREST_BARS = ("5m", "15m", "30m", "1h", "4h", "1d")
BINANCE_INTEREST_BARS = (*INTEREST_BARS, "2h", "6h", "12h")
Key = tuple[str, str, str]  # venue, symbol, kind of the lake


class Span(NamedTuple):
    """What to fetch: [start, end) in milliseconds, and the times of the last rows stored before it, which must come again."""

    start: int
    end: int
    known: tuple[int, ...]


def kind_names(venue: str, data: config.Data) -> dict[str, str]:
    """data.kinds as the lake names them: {'bars': '1h', 'mark': 'mark-1h', ...}; rules and brackets keep their names."""
    bar = data.timeframe
    own = {"bars": bar, "mark": mark_kind(bar), "index": index_kind(bar), "funding": FUNDING}
    own["open_interest"] = interest_kind(_interest_bar(venue, bar))
    return {name: own.get(name, name) for name in data.kinds}


def _interest_bar(venue: str, bar: str) -> str:
    """The longest period of the venue's open interest that fits into a bar, or the shortest there is."""
    step, served = timeframe.milliseconds(bar), BINANCE_INTEREST_BARS if venue in BINANCE else INTEREST_BARS
    fitting = [each for each in served if step % timeframe.milliseconds(each) == 0]
    return max(fitting, key=timeframe.milliseconds, default=served[0])


def rest_source(venue: config.Venue) -> str:
    """What a passport calls the rows that came from the venue itself."""
    return f"{venue.kept_as} REST"


def lacking(lake: Lake, key: Key, served: tuple[int, int], source: str) -> list[Span]:
    """Runs of months within `served` that are absent or unfinished, an unfinished one from its last row on."""
    spans = []
    for name in months(*served):
        found = _missing(lake, key, name, served, source)
        if found is None:
            continue
        if spans and spans[-1].end == found.start:
            spans[-1] = spans[-1]._replace(end=found.end)
        else:
            spans.append(found)
    return spans


def holds_all(lake: Lake, venue: config.Venue, data: config.Data, symbols: list[str]) -> bool:
    """Whether a fixed span lies in the lake already, so that the venue need not be asked."""
    if data.end is None or not set(data.kinds) <= set(READ):
        return False
    served, source = (_ms(data.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)), _ms(data.end)), rest_source(venue)
    keys = [(venue.kept_as, symbol, kind) for symbol in symbols for kind in kind_names(venue.name, data).values()]
    return all(lake.stored(*key) and not lacking(lake, key, served, source) for key in keys)


def _missing(lake: Lake, key: Key, name: str, served: tuple[int, int], source: str) -> Span | None:
    """What one month lacks. A month that has not ended is whole where its last row is the last there can be."""
    begin, stop = month_bounds(name)
    stored, end = lake.month(*key, name), min(stop, served[1])
    if stored is not None and stored.complete:
        return None
    if stored is None or not _came_from(stored.passport, source):
        return _span(max(begin, served[0]), end, ())
    known = tuple(schema.epoch_ms(stored.rows.index.unique()[-OVERLAP:]).tolist())
    if stop > served[1] and known[-1] + (bar_length(key[2]) or 1) >= end:
        return None
    return _span(max(known[-1], served[0]), end, tuple(time for time in known if time >= served[0]))


def _span(start: int, end: int, known: tuple[int, ...]) -> Span | None:
    return Span(start, end, known) if start < end else None


def _came_from(passport: Passport, source: str) -> bool:
    """Whether all rows of a month are this source's: then they were fetched in order, and none before the last is missing."""
    others = [event for event in passport.history if event["act"] == REPAIRED and event["source"] != source]
    return passport.source == source and not others


def _ms(instant) -> int:
    return int(instant.timestamp() * 1000)

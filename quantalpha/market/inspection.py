"""One line about the quality of a table of rows: what is there, what is missing, what breaks a rule, what is to be doubted."""

from collections.abc import Iterator

import pandas as pd

from quantalpha import config, schema
from quantalpha.market import kinds, quality
from quantalpha.market.passport import COMPARED, REPAIRED, REVISED
from quantalpha.market.store import Lake
from quantalpha.market.tables import violations


def inspect(rows: pd.DataFrame, kind: str, params: config.Quality, witnesses: dict | None = None, differ=()) -> dict:
    """rows, first, last, gaps, missing, duplicates, violations; of bars also the faults of `quality.judge`. As plain JSON values.

    rows: in any order, as a source gave them. Duplicates count once as such, not as violations; doubts are those of the sound rows.
    """
    step, ordered = kinds.bar_length(kind), rows.sort_index(kind="stable")
    once = ordered[~ordered.index.duplicated(keep="last")]
    holes = kinds.gaps(once.index, step)
    found = {
        "rows": len(rows),
        "first": once.index[0].isoformat(),
        "last": once.index[-1].isoformat(),
        "gaps": len(holes),
        "missing": sum(hole["bars"] for hole in holes),
        "duplicates": len(rows) - len(once),
        "out of order": int((rows.index.to_series().diff() < pd.Timedelta(0)).sum()),
        "violations": len(violations(once, kind)),
    }
    if kinds.columns(kind) != schema.REQUIRED:
        return found
    sound = once[~schema.impossible(once)]
    faults = quality.judge(sound, params.model_copy(update=FLAG), kind, witnesses, differ)[1] if len(sound) else pd.DataFrame()
    return found | {name.replace("_", " "): count for name, count in quality.counts(faults).items()}


FLAG = dict.fromkeys(("frozen", "zero_volume", "outliers", "jumps", "sources"), "flag")  # to look is not to drop


def inspect_lake(lake: Lake, symbol: str, params: config.Params) -> Iterator[dict]:
    """`inspect` of each kind the lake holds of a symbol, with what its passports tell: sources, revised, repaired, disputed rows."""
    venue, bar = params.venue.kept_as, params.data.timeframe
    for kind in sorted(lake.kinds(venue, symbol), key=lambda name: (name != bar, name)):
        rows = lake.find(venue, symbol, kind)
        if rows is None:
            continue
        own = {"venue": venue, "symbol": symbol, "kind": kind}
        others = witnesses(lake, tuple(own.values()), params.venue.second) if kinds.columns(kind) == schema.REQUIRED else {}
        yield own | inspect(rows, kind, params.quality, others, lake.disputed(*own.values())) | _told(lake, own)


def witnesses(lake: Lake, key: tuple[str, str, str], second: str | None, start=None, end=None) -> dict[str, pd.DataFrame]:
    """What the lake holds of [start, end) that can contradict the bars of `key` (venue, symbol, timeframe): the mark and the index price,
    and the bars of a second venue."""
    venue, symbol, bar = key
    asked = {"mark": (venue, kinds.mark_kind(bar)), "index": (venue, kinds.index_kind(bar)), "second": (second, bar)}
    found = {name: lake.find(place, symbol, kind, start, end) for name, (place, kind) in asked.items() if place is not None}
    return {name: table for name, table in found.items() if table is not None}


def passports(lake: Lake, venue: str, symbol: str, kind: str) -> list[dict]:
    """One row a month: where it came from, when, its hash, and how many of its rows were revised, repaired or disputed since."""
    return [
        {
            "month": name,
            "source": told.source,
            "fetched": told.fetched_at[:16],
            "rows": told.rows,
            "gaps": len(told.gaps),
            "complete": "yes" if told.complete else "no",
            **_acts(told.history),
            "sha256": told.sha256[:12],
            "passport": told.id[:12],
        }
        for name, told in lake.passports(venue, symbol, kind).items()
    ]


def _acts(history: list[dict]) -> dict:
    """Rows revised, repaired, compared with a second source, and disputed by it; and who that is."""
    counts = {act: sum(event["rows"] for event in history if event["act"] == act) for act in (REVISED, REPAIRED, COMPARED)}
    others = sorted({event["source"] for event in history if event["act"] in (REPAIRED, COMPARED)})
    return counts | {"disputed": sum(event.get("differ", 0) for event in history), "second source": ", ".join(others) or "-"}


def _told(lake: Lake, key: dict) -> dict:
    months = lake.passports(*key.values()).values()
    history = [event for month in months for event in month.history]
    told = _acts(history)
    return {"source": ", ".join(sorted({month.source for month in months})), "second source": told.pop("second source")} | told

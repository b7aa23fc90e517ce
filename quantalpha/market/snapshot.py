"""The raw lake as a manifest found it: its months, put into another folder.

A month that is still the same is copied. One that has grown since holds the rows of then at its beginning, and the same rows make the same
file; one that was revised was kept. What can be had in none of these ways comes as it is by now, and is named.
"""

import shutil
from pathlib import Path

import pandas as pd

from quantalpha.errors import DataError
from quantalpha.market import passport
from quantalpha.market.store import Lake, Month

Listing = dict[str, list[dict]]  # Lake.manifest


def put_back(listing: Listing, lake: Lake, target: Lake) -> tuple[Listing, list[str]]:
    """Fills `target` with the months that `listing` names, as they were when it was written; of a month that holds other rows by now,
    with those. Returns the listing of what it holds, and the names of those months.

    Raises DataError for a month that is no longer in the lake.
    """
    found, changed = {}, []
    for kind, entries in listing.items():
        found[kind] = [_put(entry, lake, target) for entry in entries]
        changed += [new["file"] for old, new in zip(entries, found[kind]) if not _same(old, new)]
    return found, changed


def _same(old: dict, new: dict) -> bool:
    """By rows and what the passport tells; manifests of old did not name it."""
    return old["sha256"] == new["sha256"] and old.get("passport", new["passport"]) == new["passport"]


def _put(entry: dict, lake: Lake, target: Lake) -> dict:
    key = tuple(entry["file"].removesuffix(".parquet").split("/"))
    month = lake.month(*key)
    if month is None:
        raise DataError(f"{lake.root.name}/{entry['file']}: the run used this month, and it is gone; download or import it")
    rows = None if month.sha256 == entry["sha256"] else _then(entry, month, lake, key)
    if rows is None:
        _copy(lake, target, key)
    else:
        target.write(*key[:3], rows, source=month.passport.source, complete_before=0)
    if target.month(*key).sha256 == entry["sha256"]:
        _untell(target.path(*key), month.passport.history, entry.get("passport"))
    held = target.month(*key)
    return entry | {"rows": len(held.rows), "sha256": held.sha256, "passport": held.passport.id}


def _untell(path: Path, history: list[dict], told: str | None) -> None:
    """Take from the passport what has happened to the month since: it then has the id it had."""
    for count in range(len(history), -1, -1):
        passport.retell(path, history[:count])
        if told in (None, passport.verify(path)[1].id):
            return
    passport.retell(path, history)


def _then(entry: dict, month: Month, lake: Lake, key: tuple[str, str, str, str]) -> pd.DataFrame | None:
    """The month's rows of then: the first of those it has, or those of the file that was kept; None where neither makes that file."""
    first = month.rows.iloc[: entry["rows"]]
    return first if passport.digest(first) == entry["sha256"] else lake.version(*key, entry["sha256"])


def _copy(lake: Lake, target: Lake, key: tuple[str, str, str, str]) -> None:
    for suffix in (".parquet", ".json"):
        path = target.path(*key).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lake.path(*key).with_suffix(suffix), path)

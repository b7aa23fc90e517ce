"""The raw lake as a manifest found it: its months, put into another folder.

A complete month is copied. One that has grown since holds the rows of then at its beginning, and the same rows make the same file.
"""

import shutil

from quantalpha.errors import DataError
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
        changed += [new["file"] for old, new in zip(entries, found[kind]) if old != new]
    return found, changed


def _put(entry: dict, lake: Lake, target: Lake) -> dict:
    key = tuple(entry["file"].removesuffix(".parquet").split("/"))
    month = lake.month(*key)
    if month is None:
        raise DataError(f"{lake.root.name}/{entry['file']}: the run used this month, and it is gone; download or import it")
    if month.sha256 == entry["sha256"] or not _grown(entry, month, target, key):
        _copy(lake, target, key)
    held = target.month(*key)
    return entry | {"rows": len(held.rows), "sha256": held.sha256}


def _grown(entry: dict, month: Month, target: Lake, key: tuple[str, str, str, str]) -> bool:
    """Whether the month's first rows are the month of then, which is in `target` now."""
    if len(month.rows) <= entry["rows"]:
        return False
    target.write(*key[:3], month.rows.iloc[: entry["rows"]], source="as it was", complete_before=0)
    return target.month(*key).sha256 == entry["sha256"]


def _copy(lake: Lake, target: Lake, key: tuple[str, str, str, str]) -> None:
    for suffix in (".parquet", ".json"):
        path = target.path(*key).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lake.path(*key).with_suffix(suffix), path)

"""Which rows of a long list one answer holds."""

import numpy as np


def page_of(times: np.ndarray, start: int | None, end: int | None, limit: int, *, newest: bool = False) -> range:
    """Positions of `times` (ascending) within [start, end], ascending: the first `limit` of them where a start is given, else the last.

    newest: the last `limit` in any case.
    """
    low = 0 if start is None else int(np.searchsorted(times, start))
    high = times.size if end is None else int(np.searchsorted(times, end, side="right"))
    return range(max(low, high - limit), high) if start is None or newest else range(low, min(high, low + limit))

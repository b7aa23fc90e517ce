"""The trailing-window kernels against plain numpy, on both sides of every block they work in."""

import numpy as np
import pytest

from quantalpha import windows
from quantalpha.windows import BLOCK

WINDOW, KEEP, WEIGHTS = 37, 0.9, np.linspace(1.0, -0.5, 37)


def slope_and_fit(part):
    slope, level = np.polyfit(np.arange(len(part)), part, 1)
    return slope, 1 - np.var(part - level - slope * np.arange(len(part))) / np.var(part)


KERNELS = {  # (the kernel, what it says of the last row of one window)
    "total": (lambda x: windows.total(x, WINDOW), np.sum),
    "mean": (lambda x: windows.mean(x, WINDOW), np.mean),
    "decayed_sum": (lambda x: windows.decayed_sum(x, KEEP, WINDOW), lambda part: np.sum(part * KEEP ** np.arange(WINDOW)[::-1])),
    "decayed_mean": (
        lambda x: windows.decayed_mean(x, KEEP, WINDOW),
        lambda part: np.average(part, weights=KEEP ** np.arange(WINDOW)[::-1]),
    ),
    "moments": (lambda x: windows.moments(x, WINDOW), lambda part: (np.mean(part), np.var(part))),
    "spread": (lambda x: windows.spread(x, WINDOW), lambda part: (part[-1] - np.mean(part), np.std(part))),
    "line_fit": (lambda x: windows.line_fit(x, WINDOW), slope_and_fit),
    "highest": (lambda x: windows.highest(x, WINDOW), np.max),
    "lowest": (lambda x: windows.lowest(x, WINDOW), np.min),
    "weighted_sum": (lambda x: windows.weighted_sum(x, WEIGHTS), lambda part: np.sum(part[::-1] * WEIGHTS)),
    "lagged": (lambda x: windows.lagged(x, WINDOW - 1), lambda part: part[0]),
    "ratio": (lambda x: windows.ratio(x, windows.lagged(x, WINDOW - 1), empty=0.0), lambda part: part[-1] / part[0]),
}


@pytest.mark.parametrize("rows", [WINDOW - 1, WINDOW, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + WINDOW, 4 * BLOCK])
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_says_what_numpy_says_in_every_block(name, rows):
    kernel, plain = KERNELS[name]
    rng = np.random.default_rng(rows)
    x = 5 + np.cumsum(rng.normal(0, 0.1, rows))
    found = np.column_stack(np.atleast_2d(kernel(x)))
    assert np.isnan(found[: WINDOW - 1]).all() and not np.isnan(found[WINDOW - 1 :]).any()
    edges = np.arange(-2, 3) + np.arange(0, rows + 1, 1024)[:, None]  # 1024: the block of weighted_sum; its multiples: of all others
    sampled = np.unique([*edges.ravel(), *(edges + WINDOW - 1).ravel(), *rng.integers(0, rows, 100), rows - 1])
    for row in sampled[(sampled >= WINDOW - 1) & (sampled < rows)]:
        np.testing.assert_allclose(found[row], plain(x[row - WINDOW + 1 : row + 1]), rtol=1e-8, atol=1e-10, err_msg=f"row {row}")


def test_a_window_wider_than_a_block():
    x, window = np.random.default_rng(0).normal(size=10 * BLOCK), 2 * BLOCK
    for row in (window - 1, window, 9 * BLOCK + 1, len(x) - 1):
        part = x[row - window + 1 : row + 1]
        assert windows.highest(x, window)[row] == part.max()
        np.testing.assert_allclose(windows.moments(x, window)[1][row], part.var(), rtol=1e-10)

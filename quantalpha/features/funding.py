"""What holding a perpetual has cost of late."""

import numpy as np

from quantalpha.features.base import Feature, check_window
from quantalpha.features.windows import weighted_sum


def funding(window: int) -> Feature:
    """Sum of the funding rates settled in the last `window` bars: 0.0003 means longs paid 3 basis points to shorts. Window >= 1."""
    check_window("funding", window)

    def compute(bars):
        return weighted_sum(bars["funding_rate"], np.ones(window))

    return Feature(f"funding_{window}", window, ("funding_rate",), compute)

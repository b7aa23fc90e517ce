"""How long the statistics of evidence take: python benchmarks/evidence.py [rows tries]

Returns of unrelated tries that are worth nothing, by default 1,000 of 1,800 days; the best of three calls, compiled before.
"""

import sys
import time

import numpy as np

from quantalpha.validation import confidence_bands, effective_trials, evidence, probability_of_backtest_overfitting, superior_tries


def seconds(call) -> float:
    """The best of three, after one that compiles."""
    call()
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    rows, tries = map(int, sys.argv[1:] or (1800, 1000))
    returns = np.random.default_rng(0).standard_t(5, (rows, tries)) * 0.01
    best = int((returns.mean(axis=0) / returns.std(axis=0)).argmax())
    print(f"{rows:,} rows, {tries:,} tries")
    for name, call in (
        ("probability_of_backtest_overfitting, 12,870 combinations", lambda: probability_of_backtest_overfitting(returns)),
        ("superior_tries, 1,000 resamples", lambda: superior_tries(returns)),
        ("effective_trials", lambda: effective_trials(returns)),
        ("confidence_bands of one try, 2,000 resamples", lambda: confidence_bands(returns[:, best])),
        ("evidence, all of it", lambda: evidence(returns, best)),
    ):
        print(f"{seconds(call):8.2f} s  {name}", flush=True)


if __name__ == "__main__":
    main()

"""Sessions on a practice exchange that does wrong at random, killed (-9) at random moments and resumed, thousands of times.

    python benchmarks/survival.py [schedules] [workers] [--first SEED] [--folder DIR] [--verbose]

Each schedule is one seed: venue, symbols, execution, stops, faults, and when the session is killed. The laws are read from the venue's own
books and the session's journal (tests/survival/laws.py). Prints the tally; exits 1 on any broken law, and leaves the remains of those
schedules in DIR/<seed>. An interrupted run goes on with --first.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from survival.tally import tally, verdicts  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("schedules", type=int, nargs="?", default=100)
    parser.add_argument("workers", type=int, nargs="?", default=8)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="survival-")) if asked.folder is None else asked.folder
    found, begun = [], time.monotonic()
    try:
        for verdict in verdicts(asked.first, asked.schedules, asked.workers, folder):
            found.append(verdict)
            for line in verdict.broken:
                print(f"schedule {verdict.seed}: {line}", flush=True)
            if asked.verbose:
                print(verdict, flush=True)
            if len(found) % 100 == 0:
                print(f"{len(found):,} schedules in {time.monotonic() - begun:,.0f} s", flush=True)
    except KeyboardInterrupt:
        done = {verdict.seed for verdict in found}
        following = next(seed for seed in range(asked.first, asked.first + asked.schedules) if seed not in done)
        print(f"interrupted: go on with --first {following}")
    print(tally(found))
    print(f"{time.monotonic() - begun:,.0f} s; remains of broken ones in {folder}")
    sys.exit(any(verdict.broken for verdict in found) or len(found) < asked.schedules)


if __name__ == "__main__":
    main()

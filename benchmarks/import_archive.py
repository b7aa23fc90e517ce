"""How fast bulk files go into the lake, and in how much memory, beside the least that any import must do with the same bytes.

    python benchmarks/import_archive.py [megabytes of CSV, 300]

A tree of monthly files of one-minute bars is generated (values as irregular as published ones), then each line is measured in a process
of its own: unzip and parse alone by Arrow (the limit) and by pandas, the import of a quarter and of the whole tree, that of what is there
already, and one CSV of the same rows through `quantalpha import`. Peak memory is what the process ever held, libraries included.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

CHILD = """
import json, resource, sys, time
from pathlib import Path
root, what = Path(sys.argv[1]), sys.argv[2]
import pandas as pd, zipfile
from quantalpha.market.archive import Folder, Wanted, import_archive
from quantalpha.market.importer import import_files
from quantalpha.market.own_files import OwnFiles
from quantalpha.market.store import Lake
import pyarrow.csv
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
if what in ("arrow", "pandas"):
    for path in sorted((root / "tree").rglob("*.zip")):
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as stream:
            if what == "arrow":
                pyarrow.csv.read_csv(stream, pyarrow.csv.ReadOptions(use_threads=False))
            else:
                pd.read_csv(stream, float_precision="round_trip")
elif what == "own":
    import_files(OwnFiles(root / "own.csv", "BTCUSDT", "1m"), Lake(root / "own"))
else:
    folder = root / ("part" if what == "part" else "tree")
    found = [outcome.status for outcome in import_archive(Folder(folder), Lake(root / f"lake-{folder.name}"), Wanted())]
    assert set(found) == {"known" if what == "again" else "stored"}, set(found)
took = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": took, "peak_mb": peak / 1024, "idle_mb": idle / 1024}))
"""


def generate(root: Path, megabytes: int) -> tuple[int, int]:
    """(files, bytes of CSV): months of minutes in root/tree, the first quarter of them in root/part too, all rows in root/own.csv."""
    from archive_tree import bars_of, csv_of, klines, put, zipped

    series, rng, size, number = bars_of("1m"), np.random.default_rng(7), 0, 0
    months = np.arange(np.datetime64("2015-01", "M"), np.datetime64("2024-12", "M")).astype(str)
    prices = ["open", "high", "low", "close"]
    with (root / "own.csv").open("wb") as own:
        for number, month in enumerate(months, 1):
            table = klines(month, "1m")
            close = 30_000 * np.exp(np.cumsum(rng.normal(scale=4e-4, size=len(table))))
            table[prices] = (close[:, None] * np.array([1, 1.0004, 0.9996, 1.0001])).round(2)
            traded = rng.exponential(30, size=len(table)).round(3)
            table = table.assign(volume=traded, quote_volume=(traded * close).round(5), taker_buy_volume=(traded / 2).round(3))
            data = csv_of(table)
            put(root / "tree", series, month, zipped({series.file(month).name.replace(".zip", ".csv"): data}))
            own.write(data if number == 1 else data.partition(b"\n")[2])
            size += len(data)
            if size > megabytes << 20:
                break
    for path in sorted((root / "tree").rglob("*.zip*"))[: number // 4 * 2]:
        target = root / "part" / path.relative_to(root / "tree")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return number, size


def measure(root: Path, what: str) -> dict:
    done = subprocess.run([sys.executable, "-c", CHILD, str(root), what], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files, size = generate(root, megabytes)
        print(f"{files} monthly files of one-minute bars, {size / 2**20:.0f} MB of CSV\n")
        print(f"{'':34}{'MB/s':>8}{'of limit':>10}{'peak MB':>9}{'over libraries':>16}")
        limit = None
        for what, share, label in (
            ("arrow", 1, "unzip + Arrow's parse (limit)"),
            ("pandas", 1, "unzip + pandas' parse"),
            ("part", files // 4 / files, "import of a quarter"),
            ("all", 1, "import of the whole"),
            ("again", 1, "the whole again"),
            ("own", 1, "one CSV, read twice"),
        ):
            found = measure(root, what)
            speed = size * share / 2**20 / found["seconds"]
            limit = speed if limit is None else limit
            over = found["peak_mb"] - found["idle_mb"]
            print(f"{label:34}{speed:8.0f}{speed / limit:10.2f}{found['peak_mb']:9.0f}{over:16.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)

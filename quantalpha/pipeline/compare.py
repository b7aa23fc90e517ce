"""How far two makings of the same output lie apart: bits first, then numbers."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quantalpha.files import read_parquet

TOLERANCE = {"lightgbm": 0.0, "xgboost": 0.0}  # of a model kind, as a share of a number's scale; 0: the same bits
TORCH = 1e-5  # of every other kind: sums of floats in another order
CARD, CODE = "candidate.json", "code_version"  # the hash of the whole package, of which the stage used a part


@dataclass(frozen=True)
class Gap:
    """Where two outputs differ: by `size`, a share of the number's scale; inf: one of them is not there; None: text or bytes."""

    where: str
    size: float | None
    recorded: str
    found: str

    @property
    def measured(self) -> float | None:
        return self.size if self.size is not None and math.isfinite(self.size) else None

    def __str__(self) -> str:
        by = "" if self.measured is None else f" ({self.size:.1e} of its scale)"
        return f"{self.where}: {self.recorded} -> {self.found}{by}"


def tolerance(model: str | None) -> float:
    """What a stage's outputs may differ by; model: its kind, None: it has none, and its bits count."""
    return 0.0 if model is None else TOLERANCE.get(model, TORCH)


def gaps(recorded: Path, found: Path) -> list[Gap]:
    """Where two files, or all files of two folders, differ; the widest first; empty: nowhere but in the hash of all code."""
    pairs = [(recorded, found)]
    if recorded.is_dir() and found.is_dir():
        names = {path.relative_to(folder) for folder in (recorded, found) for path in folder.rglob("*") if path.is_file()}
        pairs = [(recorded / name, found / name) for name in sorted(names) if name.name[0] != "."]
    return sorted((gap for pair in pairs for gap in _of_files(*pair)), key=lambda gap: 0.0 if gap.size is None else -gap.size)


def within(found: list[Gap], allowed: float) -> bool:
    """Whether no gap is wider than a tolerance. Above 0 numbers are held to it, not a model's bytes and their hashes."""
    return not found or (allowed > 0 and all(gap.size is None or gap.size <= allowed for gap in found))


def _of_files(recorded: Path, found: Path) -> Iterator[Gap]:
    if not (recorded.is_file() and found.is_file()):
        yield Gap(recorded.name, math.inf, *("a file" if path.is_file() else "absent" for path in (recorded, found)))
    elif recorded.read_bytes() != found.read_bytes():
        yield from _within_files(recorded, found)


def _within_files(recorded: Path, found: Path) -> list[Gap]:
    """Where two files differ whose bytes do; as a whole, where no value tells it, or one of them cannot be read."""
    lengths = [f"{path.stat().st_size} bytes" for path in (recorded, found)]
    if recorded.suffix not in READERS:
        return [Gap(recorded.name, None, *lengths)]
    try:
        if recorded.name == CARD and _but_code(recorded) == _but_code(found):
            return []
        told = list(READERS[recorded.suffix](recorded, found))
    except (ValueError, OSError):
        told = []
    return told or [Gap(recorded.name, math.inf, *lengths)]


def _but_code(card: Path) -> str:
    value = json.loads(card.read_text())
    if isinstance(value, dict):
        value.pop(CODE, None)
    return json.dumps(value, sort_keys=True)


def _json(recorded: Path, found: Path) -> Iterator[Gap]:
    old, new = (dict(_leaves(json.loads(path.read_text()))) for path in (recorded, found))
    for key in {**old, **new}:
        exempt = recorded.name == CARD and key == CODE
        if not exempt and _exact(old, key) != _exact(new, key):
            texts = (str(side.get(key, "absent"))[:40] for side in (old, new))
            yield Gap(f"{recorded.name} {key}", _size(old.get(key), new.get(key)), *texts)


def _exact(leaves: dict, key: str) -> str:
    """Unlike `==` it tells 0.0 from -0.0, true from 1, null from nothing, and NaN from no NaN alone."""
    return repr(leaves[key]) if key in leaves else "absent"


def _leaves(value, prefix: str = "") -> Iterator[tuple[str, object]]:
    """{"a": [1], "b": {}} -> ("a.0", 1), ("b", {})"""
    if not (isinstance(value, (dict, list)) and value):
        yield prefix, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))


def _size(a, b) -> float | None:
    if isinstance(a, str) and isinstance(b, str):
        return None
    if not all(type(value) in (int, float) and math.isfinite(value) for value in (a, b)):
        return math.inf
    return abs(a - b) / (max(abs(a), abs(b)) or 1.0)


def _table(recorded: Path, found: Path) -> Iterator[Gap]:
    import pandas as pd

    old, new = (read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path) for path in (recorded, found))
    if list(old.columns) != list(new.columns) or not old.index.equals(new.index):
        yield Gap(recorded.name, math.inf, f"{old.shape}", f"{new.shape}")
        return
    for name in old:
        if not old[name].equals(new[name]):
            yield _of_columns(f"{recorded.name} {name}", old[name], new[name])


def _of_columns(where: str, old, new) -> Gap:
    """The widest gap of a column, as a share of its largest finite value."""
    import numpy as np
    from pandas.api.types import is_numeric_dtype

    odd = ~((old == new) | (old.isna() & new.isna()))
    row, size = int(odd.to_numpy().argmax()), None
    if not old.isna().equals(new.isna()):
        size = math.inf
    elif is_numeric_dtype(old) and is_numeric_dtype(new):
        a, b = (column.to_numpy(float, na_value=np.nan) for column in (old, new))
        apart = np.subtract(a, b, out=np.zeros(len(a)), where=odd.to_numpy(bool))  # not of inf and inf, nor of NaN and NaN
        scale = np.abs(np.concatenate([a, b]), where=np.isfinite(np.concatenate([a, b])), out=np.zeros(2 * len(a))).max() or 1.0
        row, size = int(np.abs(apart).argmax()), float(np.abs(apart).max() / scale)
    return Gap(f"{where} row {row}", size, str(old.iloc[row]), str(new.iloc[row]))


READERS = {".json": _json, ".parquet": _table, ".csv": _table}

"""Writes derived.json, the cases that `Page` keeps in exact fractions: `python -m golden.derive` in the folder `tests`."""

import json
from pathlib import Path

from golden import exits, funding, limits, margin, orders, portfolio

FILE = Path(__file__).with_name("derived.json")
ABOUT = (
    "Made by derive.py, case by case as a hand would do it, in exact fractions; page.py names the formulas. "
    "bars: open, high, low, close, then `columns`; targets and limits: decided at each bar's close (null: none). Fractions stand as 'a/b'. "
    "Cash starts at 1000. fills: bar, quantity, price, fee, realised, reason; funding: bar, amount. For several symbols bars, targets and "
    "limits stand by symbol, and the symbol is the first column of fills and funding."
)
MODULES = (orders, limits, exits, funding, margin, portfolio)


def cases() -> list[dict]:
    return [case for module in MODULES for family in module.FAMILIES for case in family()]


def text() -> str:
    """The file, one case a line."""
    rows = ",\n".join(f"    {json.dumps(case)}" for case in cases())
    return f'{{\n  "about": {json.dumps(ABOUT)},\n  "cases": [\n{rows}\n  ]\n}}\n'


if __name__ == "__main__":
    FILE.write_text(text())

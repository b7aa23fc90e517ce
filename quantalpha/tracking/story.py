"""A candidate's run told in a few lines: the description its MLflow page begins with."""

import json
from datetime import datetime
from pathlib import Path

from quantalpha.tracking.record import GATE_FILE, StageRun, is_number, read_metrics

NUMBERS = {
    "net Sharpe": ("sharpe_ratio", "{:.2f}"), "return": ("total_return", "{:+.1%}"), "max drawdown": ("max_drawdown", "{:.1%}"),
    "profit factor": ("profit_factor", "{:.2f}"), "trades": ("n_trades", "{:,.0f}"), "turnover a year": ("turnover", "{:,.0f}"),
}  # fmt: skip
GATE = "- **Gate**: "  # begins the one line that changes later


def story(stage: StageRun, evidence: dict[str, Path]) -> str:
    """Markdown: market, span, folds, the result beside its baselines, bars, features, labels, costs, tries, gate, where the files are.

    evidence: the files of the stages it was made from, by the path they have among the run's artefacts. What a stage did not leave is not
    told.
    """
    folder, params = stage.files.get("candidate", Path("absent")), stage.params
    card, baselines = _read(folder / "candidate.json"), _read(folder / "baselines.json")
    metrics, folds = read_metrics(stage)
    passport = next((_read(file) for path, file in evidence.items() if path == f"evidence/clean/{stage.loop.get('symbol')}.json"), {})
    lines = [
        _heading(stage, card, folds),
        f"{GATE}not judged yet; `quantalpha promote {stage.id}` asks",  # above the fold of the page
        _tries(card),
        *_table({"**this candidate**": metrics} | baselines),
        _forecasts(metrics),
        _bars(card, passport),
        f"- **Features**: {', '.join(card['sections']['features'])}" if card else "",
        _training(params),
        _costs(params),
        "- **Artefacts**: candidate/ holds the tearsheet, the equity curve, the trades, the forecasts and the model; evidence/ what it was "
        "made from: data passport, proofs of causality, contributions; the notebook with its outputs lies beside them",
    ]
    return "\n".join(line for line in lines if line)


def judged(story: str, outcome: str, report: dict) -> str:
    """The story with what the gate said in `report` (the content of gate.json); unchanged where it has no such line."""
    lines, failed = report.get("lines", []), [line["name"] for line in report.get("lines", []) if not line["passed"]]
    why = f"; failed: {', '.join(failed)}" if failed else ""
    said = f"{GATE}**{outcome}**, {len(lines) - len(failed)} of {len(lines)} lines passed{why} ({GATE_FILE})"
    return "\n".join(said if line.startswith(GATE) else line for line in story.splitlines())


def _heading(stage: StageRun, card: dict, folds: list[dict]) -> str:
    where = " on {venue}, {timeframe} bars".format(**card) if card else ""
    span = f", out of sample {_day(folds[0]['test_start'])} to {_day(folds[-1]['test_end'])} in {len(folds)} folds" if folds else ""
    return f"**{' '.join(stage.loop.values())}**{where}{span}, after all costs.\n"


def _table(rows: dict[str, dict]) -> list[str]:
    """The candidate first, then its baselines."""
    head = [f"| | {' | '.join(NUMBERS)} |", f"|---|{'---:|' * len(NUMBERS)}"]
    cells = {name: [_cell(row.get(key), form) for key, form in NUMBERS.values()] for name, row in rows.items()}
    return [" ", *head, *(f"| {name} | {' | '.join(row)} |" for name, row in cells.items()), " "]


def _forecasts(metrics: dict) -> str:
    told = {"log loss": "log_loss", "Brier score": "brier", "information coefficient": "information_coefficient"}
    found = [f"{name} {metrics[key]:.3f}" for name, key in told.items() if key in metrics]
    return f"- **Forecasts**: {', '.join(found)} (knowing nothing: 1.099, 0.667, 0); means over the folds" if found else ""


def _bars(card: dict, passport: dict) -> str:
    if not {"rows_out", "first", "last", "missing"} <= passport.keys():
        return ""
    bars = card.get("data", {}).get("bars", {})
    text = f"- **Bars**: {passport['rows_out']:,} from {_day(passport['first'])} to {_day(passport['last'])}, "
    return text + f"{passport['missing']['bars']} missing; sha256 {bars.get('sha256', '')[:12]}, passport {bars.get('passport', '')[:12]}"


def _training(params: dict) -> str:
    names = ("labels.kind", "labels.horizon", "splits.scheme", "splits.train", "splits.test", "splits.embargo")
    if not set(names) <= params.keys():
        return ""
    kind, horizon, scheme, train, test, embargo = (params[name] for name in names)
    return f"- **Training**: {kind} over {horizon} bars; {scheme} window of {train} rows, test {test}, embargo {embargo}"


def _costs(params: dict) -> str:
    names = ("costs.maker", "costs.taker", "costs.slippage", "policy.leverage")
    if not all(is_number(params.get(name)) for name in names):
        return ""
    maker, taker, slippage, leverage = (params[name] for name in names)
    fees = f"taker {taker * 1e4:g} bp, maker {maker * 1e4:g} bp, slippage {slippage * 1e4:g} bp a side"
    return f"- **Costs**: {fees}, funding as settled; leverage {leverage:g}"


def _tries(card: dict) -> str:
    """From the ledger, where there is one."""
    from quantalpha.validation import Trials

    ledger = Trials()
    if not card or not ledger.path.is_file():
        return ""
    market = "{venue}-{symbol}-{timeframe}".format(**card)
    return f"- **Tries**: {ledger.count(study=market)} in the ledger for {market}"


def _cell(value, form: str) -> str:
    return form.format(value) if is_number(value) and value == value else "-"


def _day(time: str) -> str:
    return datetime.fromisoformat(time).date().isoformat()


def _read(path: Path) -> dict:
    """{} where it is missing or damaged: a description is no proof."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

"""What a pipeline leaves behind for one symbol and model, complete enough for a gate to run it all again.

    candidate.json             symbol, timeframe, venue, parameters, features, data passports, lock and code hashes, sha256 of the rest
    model.json ...             the final model, fitted on the last training rows
    forecasts.parquet          walk-forward forecasts; folds.json: each fold's times and scores; chosen.json: what was searched
    performance_metrics.json   the walk-forward backtest after costs; baselines.json: what it must beat
    check.json                 bars with the features and predictions they must give

Other files (plots, trades) may lie beside them.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import quantalpha
from quantalpha import bundle, config, models
from quantalpha.backtest.baselines import baselines
from quantalpha.backtest.periods import daily_returns
from quantalpha.backtest.result import Result
from quantalpha.backtest.walk_forward import FOLDS, FORECASTS, SCORES, WalkForward, backtest_forecasts
from quantalpha.bundle import Origin
from quantalpha.errors import DataError
from quantalpha.features import FeatureSet, build
from quantalpha.files import read_json, sha256
from quantalpha.perp import bracket_schedule
from quantalpha.validation.family import FORECAST, ROLE
from quantalpha.validation.trials import Trials, Try, data_hash

FORMAT = 1
CARD = "candidate.json"
METRICS, BASELINES, CHECK = "performance_metrics.json", "baselines.json", "check.json"
ASKED = "features_asked"  # section: the features as params.yaml asks for them, with "auto"
RECORDED = (*bundle.SECTIONS, "splits", "models", "search")
IDENTITY = ("symbol", "timeframe", "venue", "sections", "data", "until", "lock_sha256", "code_version")


@dataclass(frozen=True)
class Trained:
    """A final model and the walk-forward that speaks for it."""

    origin: Origin
    model: models.Model
    walk: WalkForward


@dataclass(frozen=True)
class Candidate:
    """A candidate read from its folder. metrics: as Result.metrics, NaN where undefined; baselines: one row each."""

    folder: Path
    trained: Trained
    features: FeatureSet
    metrics: dict[str, float]
    baselines: pd.DataFrame
    check: dict

    @property
    def name(self) -> str:
        """BTCUSDT-lightgbm"""
        return f"{self.trained.origin.symbol}-{self.trained.model.kind}"


def origin(symbol: str, params, features: dict, data: dict, until: pd.Timestamp) -> Origin:
    """Identity of a training run. `params`: config.Params or a stage's sections (venue, data, RECORDED), features as they were asked for;
    `features`: their resolved spec, without "auto"; `data`: input passports; `until`: open time of the last research bar."""
    sections = {name: getattr(params, name).model_dump(mode="json") for name in RECORDED if name != "features"}
    place = (symbol, params.data.timeframe, params.venue.kept_as)
    told = (data, until.isoformat(), config.lock_sha256(), code_version())
    return Origin(*place, {"features": features, ASKED: params.features} | sections, *told)


def code_version() -> str:
    """The package's version and the hash of its source: '0.1.0+3f2a...'."""
    package, digest = Path(quantalpha.__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0{sha256(path)}\n".encode())
    return f"{quantalpha.__version__}+{digest.hexdigest()[:16]}"


def backtest_candidate(trained: Trained, bars: pd.DataFrame, random_seeds: int) -> tuple[Result, pd.DataFrame]:
    """`candidate_result`, and the baselines on the same bars: what the notebook shows and what the gate runs again."""
    result = candidate_result(trained, bars)
    parts = _parts(trained)
    policy = parts.pop("policy")
    target = policy.targets(trained.walk.edge)
    return result, baselines(bars, target, **parts, leverage=policy.leverage, random_seeds=random_seeds)


def candidate_result(trained: Trained, bars: pd.DataFrame) -> Result:
    """The walk-forward backtest after costs.

    Whoever scores a candidate has made a try: it is in the ledger of tries before its result is seen, once for the same bars, parameters,
    forecasts and code, however often and from whatever process it is scored.
    """
    parts = _parts(trained)
    result = backtest_forecasts(bars, trained.walk, parts.pop("policy"), **parts)
    Trials().record(try_of(trained, bars, result))
    return result


def _parts(trained: Trained) -> dict:
    return bundle.decision_parts(trained.origin.sections, bracket_schedule(trained.origin.symbol))


def try_of(trained: Trained, bars: pd.DataFrame, result: Result) -> Try:
    """What the ledger of tries keeps of it. Its terms are its forecasts: a change by hand that no parameter tells is another try."""
    origin = trained.origin
    return Try(
        data=data_hash(bars),
        strategy=f"{origin.symbol}-{trained.model.kind}",
        params=origin.sections,
        code=origin.code_version,
        terms=data_hash(trained.walk.forecasts),
        scores=result.metrics(),
        study=study(origin),
        context={"until": origin.until},
        returns=daily_returns(result.returns),
    )


def study(origin: Origin) -> str:
    """What the ledger of tries calls a market: 'binanceusdm-BTCUSDT-1h'."""
    return f"{origin.venue}-{origin.symbol}-{origin.timeframe}"


def record_forecasts(symbol: str, model: str, params, features: pd.DataFrame, walk: WalkForward) -> None:
    """Forecasts that were scored are a try, also where nobody goes on to trade them; once traded, they count as the try that is.

    params: config.Params or a stage's sections (venue, data, labels, splits, models).
    """
    sections = {name: getattr(params, name).model_dump(mode="json") for name in ("labels", "splits", "models")}
    sections["features"] = list(features.columns)
    scores = pd.DataFrame(walk.folds)[list(SCORES)].astype(float).mean().to_dict()
    named = {
        "strategy": f"{symbol}-{model}",
        "study": f"{params.venue.kept_as}-{symbol}-{params.data.timeframe}",
        "context": {ROLE: FORECAST},
    }
    made = {"data": data_hash(features), "params": sections, "code": code_version(), "terms": data_hash(walk.forecasts), "scores": scores}
    Trials().record(Try(**made, **named))


def write_candidate(folder: Path, trained: Trained, bars: pd.DataFrame, result: Result, table: pd.DataFrame) -> Candidate:
    """Write everything into `folder`, `candidate.json` last. result, table: what `backtest_candidate` gave; bars: all bars of the run."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    features = build(trained.origin.sections["features"], trained.origin.timeframe)
    values = {
        METRICS: plain(result.metrics()),
        BASELINES: {name: plain(row) for name, row in table.to_dict("index").items()},
        CHECK: bundle.golden(features, trained.model, bars),
    }
    for name, value in values.items():
        (folder / name).write_bytes(bundle.to_json(value))
    names = sorted([*values, *trained.model.save(folder), *trained.walk.save(folder)])
    card = {"format": FORMAT} | {name: getattr(trained.origin, name) for name in IDENTITY} | {"feature_list": bundle.feature_list(features)}
    card["files"] = {name: sha256(folder / name) for name in names}
    (folder / CARD).write_bytes(bundle.to_json(card))
    return load_candidate(folder)


def load_candidate(folder: Path) -> Candidate:
    """The candidate in `folder`; DataError naming a missing or altered file, or a feature this code no longer has."""
    folder = Path(folder)
    card = read_json(folder / CARD, "format", "files", "feature_list", *IDENTITY)
    if card["format"] != FORMAT:
        raise DataError(f"{folder.name}/{CARD}: expected format {FORMAT}, found {card['format']}; run the pipeline again")
    _verify(folder, card["files"])
    named = Origin(**{name: card[name] for name in IDENTITY})
    metrics, table = read_json(folder / METRICS), read_json(folder / BASELINES)
    return Candidate(
        folder=folder,
        trained=Trained(named, models.load(folder), WalkForward.load(folder)),
        features=bundle.feature_set(named.sections["features"], named.timeframe, card["feature_list"], folder.name),
        metrics={name: math.nan if value is None else value for name, value in metrics.items()},
        baselines=pd.DataFrame.from_dict(table, orient="index", dtype=float),
        check=read_json(folder / CHECK, "timestamp", "bars", "features", "predictions"),
    )


def _verify(folder: Path, files: dict[str, str]) -> None:
    needed = {METRICS, BASELINES, CHECK, FORECASTS, FOLDS, models.base.CARD}
    for name in sorted(needed - set(files)):
        raise DataError(f"{folder.name}/{CARD}: {name} is not listed; run the pipeline again")
    for name, expected in files.items():
        if Path(name).name != name or (folder / name).is_symlink():
            raise DataError(f"{folder.name}/{CARD}: {name!r} is not a plain file of this folder")
        if not (folder / name).is_file():
            raise DataError(f"{folder.name}: {name} is missing; run the pipeline again")
        if sha256(folder / name) != expected:
            raise DataError(f"{folder.name}: {name} was altered since the pipeline wrote it; run the pipeline again")


def plain(metrics: dict[str, float]) -> dict[str, float | None]:
    """Floats for JSON, None where undefined."""
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}

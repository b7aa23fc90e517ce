"""A bundle for tests: a few trees trained on the bars given, sealed as any other."""

from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import bundle, config, features, models
from quantalpha.files import sha256

ROOT = Path(__file__).parents[1]
LOCK = sha256(ROOT / "requirements.lock")
GATE = {"passed": True, "lines": [{"name": "test", "passed": True}]}
SPEC = {"returns": [1, 4], "volatility": [24], "rsi": [5], "relative_volume": [24], "funding": [9], "calendar": [24]}


def params(*overrides: str) -> config.Params:
    """`params.yaml` with overrides, small features and eager decisions."""
    small = ["policy.enter=0.06", "policy.exit=0.0", "models.lightgbm.trees=10", "models.lightgbm.min_rows_per_leaf=20", f"features={SPEC}"]
    loaded = config.load(overrides=[*small, *overrides], source=ROOT / "params.yaml")
    return loaded.model_copy(update={"features": SPEC})


def build(
    folder: Path, bars: pd.DataFrame, settings: config.Params, *, symbol: str = "BTCUSDT", timeframe: str = "1h", gate: dict = GATE
) -> bundle.Bundle:
    """LightGBM on the sign of the next bar's return, half of the bars called flat."""
    move = bars["close"].pct_change().shift(-1).fillna(0.0)
    label = np.sign(move).where(move.abs() > move.abs().median(), 0.0)
    x = features.build(settings.features).compute(bars)
    known = x.notna().all(axis=1)
    model = models.create("lightgbm", settings.models).fit(x[known].to_numpy(), label[known].to_numpy())
    until = bars.index[-1].isoformat()
    origin = bundle.Origin(
        symbol, timeframe, settings.venue.kept_as, settings.sections(bundle.SECTIONS), {"bars": "test"}, until, LOCK, "test"
    )
    return bundle.write(folder, bundle.BundleContent(origin, model, bars, gate))

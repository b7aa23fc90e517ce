"""What bars are told beside their own market: the closes of leading coins, and on-chain series."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from quantalpha import config
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import read_parquet
from quantalpha.market.clean import clean_bars
from quantalpha.market.leaders import join_leaders
from quantalpha.market.onchain import PREFIX, join_onchain
from quantalpha.market.store import Lake


def enrich_bars(bars: pd.DataFrame, leaders: Iterable[Path], onchain: Iterable[Path], lake: Lake, settings: config.Params) -> pd.DataFrame:
    """`bars` and the columns `BTCUSDT.close` of `context.leaders` and `onchain_NAME` of `context.onchain`.

    leaders: the leaders' manifests of the raw lake, SYMBOL.manifest.json; their bars are cleaned as all others. onchain: parquet files of
    daily series by `timestamp`, their columns kept by name. settings: sections venue, data, holdout, clean, context.
    """
    found = join_leaders(bars, dict(_leader(path, lake, settings) for path in leaders))
    for path in onchain:
        found = _with_series(found, path, settings.context)
    series = [name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX)]
    if strange := [name for name in settings.context.onchain_lags if name not in series]:
        raise UsageError(
            f"context.onchain_lags: no series {strange[0]!r} in the files of context.onchain; {did_you_mean(strange[0], series)}"
        )
    return found


def _leader(manifest: Path, lake: Lake, settings: config.Params) -> tuple[str, pd.DataFrame]:
    symbol, listing = manifest.name.removesuffix(".manifest.json"), json.loads(manifest.read_text())
    span = settings.data.start, settings.holdout.before(settings.data.end)
    raw, _, _ = lake.read_listed(listing, settings.venue.kept_as, symbol, *span)
    return symbol, clean_bars(raw, None, None, settings.clean, settings.data.timeframe)[0]


def _with_series(bars: pd.DataFrame, path: Path, context: config.Context) -> pd.DataFrame:
    try:
        found = join_onchain(bars, _daily(path), context.onchain_lag, context.onchain_stale, context.onchain_lags)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from None
    told = found.drop(columns=bars.columns)
    if told.isna().all(axis=None):  # every feature of it would be missing on every bar
        held = f"{len(bars)} bars from {bars.index[0]} to {bars.index[-1]}" if len(bars) else "no bars"
        raise DataError(f"{path.name}: on-chain: {told.shape[1]} series, and no value known at any of {held}; get the days of that span")
    return found


def _daily(path: Path) -> pd.DataFrame:
    try:
        table = read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"on-chain: cannot be read: {' '.join(str(error).split())[:160]}") from None
    return table.set_index("timestamp") if "timestamp" in table else table

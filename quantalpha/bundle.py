"""The immutable folder that travels from research to the runner: write, verify, load.

    <id>/manifest.json   sha256 of every other file, lock and code hashes, data passports; its own sha256 is the id and the folder's name
         params.json     symbol, timeframe, venue, feature list with lookbacks, labels, policy, account, costs, stops
         model.json ...  the model, in a format that cannot run code
         gate.json       the report of the gate it passed
         check.json      a window of bars with the features and predictions it must give, and the range the features had in research
         signature.json  who sealed it, where that is asked for (`signing`); of the id, so the manifest does not list it

Nothing is parsed before its hash is checked, nothing stored is executed; an extra, missing or altered file or a link is refused by name.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from itertools import count, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from quantalpha import config, models, schema, signing, verdict
from quantalpha.errors import DataError, UsageError
from quantalpha.features import FeatureSet, registry
from quantalpha.features.base import TIME
from quantalpha.files import locked, read_json, sha256, sync
from quantalpha.golden import golden, reproduce
from quantalpha.perp import Account, Costs, Stops, brackets_for
from quantalpha.strategy import HysteresisPolicy

FORMAT = 1
MANIFEST = "manifest.json"
PARTS = {"params.json", "gate.json", "check.json", "model.json"}
TREES = {"trees.txt", "trees.json"}
SECTIONS = ("features", "labels", "policy", "account", "costs", "stops")
MANIFEST_KEYS = ("format", "files", "lock_sha256", "code_version", "data", "until")
STALE = 3600  # seconds after which an unfinished folder is a killed writer's


@dataclass(frozen=True)
class Origin:
    """Where a model comes from. `sections`: resolved parameters as plain JSON, at least SECTIONS; `data`: passports of its inputs."""

    symbol: str
    timeframe: str
    venue: str
    sections: dict
    data: dict
    until: str  # open time of the last research bar, ISO: the model may have learnt from anything up to it
    lock_sha256: str
    code_version: str


@dataclass(frozen=True)
class BundleContent:
    """What `write` seals. `bars`: at least lookback + CHECK_ROWS rows of the research bars; the last ones become the check window."""

    origin: Origin
    model: models.Model
    bars: pd.DataFrame
    gate: dict


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, ready to decide: `policy.step(edge(model.predict(features.latest(window)[None])), previous)`."""

    id: str
    folder: Path
    symbol: str
    timeframe: str
    venue: str
    model: models.Model
    features: FeatureSet
    policy: HysteresisPolicy
    account: Account
    costs: Costs
    stops: Stops
    gate: dict
    manifest: dict
    seen: tuple[list[float], list[float]] | None = None  # range of each feature in research; None: sealed before ranges were

    @property
    def until(self) -> pd.Timestamp:
        """Open time of the last bar the model may have learnt from; what it does before is no evidence."""
        return pd.Timestamp(self.manifest["until"])

    def novelty(self, row: np.ndarray) -> float:
        """Share of the features of `row` (float64[names]) beyond their range in research; NaN where nobody knows."""
        if self.seen is None or not np.isfinite(row).all():
            return float("nan")
        low, high = self.seen
        return float(np.mean((row < low) | (row > high)))


def write(folder: Path, content: BundleContent) -> Bundle:
    """Seal `content` as `folder`/<id>: built under a temporary name, synced, loaded, then renamed. The same content has the same id:
    a sound bundle of that id stays, a damaged one moves aside as .damaged-<id>-<n>. Signed where a signing key is set."""
    verdict.require(content.gate, "gate report")
    folder.mkdir(parents=True, exist_ok=True)
    with _scratch(folder) as scratch:
        id = _fill(scratch, content)
        signing.sign(scratch, id)
        _open(scratch, verify(scratch, id))
        _place(scratch, folder / id)
    return _open(folder / id, verify(folder / id))


def rehearse(folder: Path, content: BundleContent) -> Bundle:
    """What `write` would seal, in `folder` itself, to be tried before a gate has judged: not signed, and no session loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    return _open(folder, verify(folder, _fill(folder, content)), judged=False)


def verify(folder: Path, expected_id: str | None = None) -> dict:
    """The manifest of an untouched bundle, or DataError naming what is wrong. `expected_id`: the registry's; None: the folder's name."""
    folder, name = Path(folder), title(folder)
    if folder.is_symlink() or not folder.is_dir():
        raise DataError(f"{name}: expected a folder, found {'a link' if folder.is_symlink() else 'none'}")
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or not entry.is_file():
            raise DataError(f"{name}: {entry.name} is a link or a folder; a bundle holds plain files only")
    manifest = _read_manifest(folder, folder.name if expected_id is None else expected_id)
    present = {entry.name for entry in folder.iterdir()} - {MANIFEST, signing.FILE}
    for file in sorted(present - set(manifest["files"])):
        raise DataError(f"{name}: {file} does not belong to it; promote again")
    for file, expected in manifest["files"].items():
        if file not in present:
            raise DataError(f"{name}: {file} is missing; promote again")
        if sha256(folder / file) != expected:
            raise DataError(f"{name}: {file} was altered (sha256 differs); promote again")
    return manifest


def load(folder: Path, expected_id: str | None = None) -> Bundle:
    """The verified bundle in `folder`, its features equal to this code's and its stored predictions reproduced bit for bit; signed by a
    trusted key, where any is set."""
    folder = Path(folder)
    manifest = verify(folder, expected_id)
    signing.check(folder, sha256(folder / MANIFEST), title(folder))
    return _open(folder, manifest)


def _open(folder: Path, manifest: dict, judged: bool = True) -> Bundle:
    """What `verify` found untouched, whoever signed it. judged: by a gate that passed it."""
    params = read_json(folder / "params.json", "symbol", "timeframe", "venue", "feature_list", "brackets", "sections")
    gate = read_json(folder / "gate.json", "passed", "lines")
    check = read_json(folder / "check.json", "timestamp", "bars", "features", "predictions")
    if judged:
        verdict.require(gate, f"{title(folder)}: gate.json")
    features = feature_set(params["sections"]["features"], params["timeframe"], params["feature_list"], title(folder))
    parts = {"model": models.load(folder), "features": features}
    reproduce(check, parts["features"], parts["model"], f"{title(folder)}: check.json")
    named = {name: params[name] for name in ("symbol", "timeframe", "venue")}
    parts |= decision_parts(params["sections"], params["brackets"])
    seen = (check["low"], check["high"]) if "low" in check else None
    return Bundle(sha256(folder / MANIFEST), folder, **named, **parts, gate=gate, manifest=manifest, seen=seen)


def decision_parts(sections: dict, brackets: list) -> dict:
    """policy, account, costs and stops from parameter sections as plain JSON and maintenance brackets: in research the venue's dated
    tables, in a bundle the (floor, rate) rows of the latest one, since it is to trade from now on and not in the past."""
    try:
        policy = config.Policy.model_validate(sections["policy"])
        account = config.AccountParams.model_validate(sections["account"])
        costs = config.CostParams.model_validate(sections["costs"])
        stops = config.StopParams.model_validate(sections["stops"])
    except KeyError as error:
        raise DataError(f"params: section {error} is missing") from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise DataError(f"params: {error.title}.{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    return {
        "policy": HysteresisPolicy(policy.enter, policy.exit, policy.leverage),
        "account": Account(**account.model_dump(), brackets=brackets),
        "costs": Costs(**costs.model_dump()),
        "stops": Stops(**stops.model_dump()),
    }


def not_live(features: FeatureSet) -> list[str]:
    """The columns that the features read and the runner cannot give them: a closed bar of a venue's stream tells `schema.LIVE`."""
    return [name for name in features.columns if name not in (*schema.LIVE, TIME)]


def feature_list(features: FeatureSet) -> list[dict]:
    """Column names and lookback in bars of each feature, in order."""
    return [{"names": list(feature.names), "lookback": feature.lookback} for feature in features.features]


def feature_set(spec: dict, timeframe: str, listed: list[dict], where: str) -> FeatureSet:
    """The features of `spec` from this code's registry; DataError where names or lookbacks differ from those the model was trained with."""
    try:
        features = registry.build(spec, timeframe)
    except UsageError as error:
        raise DataError(f"{where}: {error}") from None
    for trained, here in zip_longest(listed, feature_list(features)):
        if trained != here:
            raise DataError(f"{where}: trained on feature {trained}, this code gives {here}; train and promote again")
    return features


def to_json(value) -> bytes:
    """JSON bytes with the keys in the order given (that of the features counts) and no NaN."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def title(folder: Path) -> str:
    """How messages call a bundle."""
    return f"bundle {Path(folder).name[:12]}"


@contextlib.contextmanager
def _scratch(folder: Path):
    """A temporary folder in `folder`, which no other writer enters meanwhile; what killed writers left there is swept."""
    with locked(folder):
        for left in folder.glob(".bundle-*"):
            if time.time() - left.lstat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=folder, ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)


def _place(scratch: Path, final: Path) -> None:
    """Rename to the final name, unless a sound bundle has it; whatever else has it moves aside."""
    if os.path.lexists(final):
        with contextlib.suppress(DataError):
            verify(final)
            _replace_signature(scratch, final)
            return
        names = (final.with_name(f".damaged-{final.name}-{n}") for n in count(1))
        os.rename(final, next(name for name in names if not os.path.lexists(name)))
    os.rename(scratch, final)
    sync(final.parent)


def _replace_signature(scratch: Path, final: Path) -> None:
    if (scratch / signing.FILE).exists():
        os.replace(scratch / signing.FILE, final / signing.FILE)
        sync(final)


def _fill(folder: Path, content: BundleContent) -> str:
    """Write every file, the manifest last; the bundle's id."""
    origin = content.origin
    features = registry.build(origin.sections["features"], origin.timeframe)
    params = {name: getattr(origin, name) for name in ("symbol", "timeframe", "venue")}
    params |= {"feature_list": feature_list(features), "brackets": [list(row) for row in brackets_for(origin.symbol)]}
    params["sections"] = {name: origin.sections[name] for name in SECTIONS}
    names = content.model.save(folder)
    parts = {"params.json": params, "gate.json": content.gate, "check.json": golden(features, content.model, content.bars)}
    for name, value in parts.items():
        (folder / name).write_bytes(to_json(value))
    hashes = {name: sha256(folder / name) for name in sorted([*names, *parts])}
    manifest = {"format": FORMAT, "files": hashes} | {
        name: getattr(origin, name) for name in ("lock_sha256", "code_version", "data", "until")
    }
    (folder / MANIFEST).write_bytes(to_json(manifest))
    for entry in (*folder.iterdir(), folder):
        sync(entry)
    return sha256(folder / MANIFEST)


def _read_manifest(folder: Path, id: str) -> dict:
    """The manifest, its hash checked first; DataError where it lists anything but the parts of a bundle."""
    path, name = folder / MANIFEST, title(folder)
    if not path.exists():
        raise DataError(f"{name}: {MANIFEST} is missing: half-written or no bundle; promote again")
    if sha256(path) != id:
        raise DataError(f"{name}: {MANIFEST} was altered, or is another bundle's: its sha256 is {sha256(path)[:12]}, expected {id[:12]}")
    manifest = read_json(path, *MANIFEST_KEYS)
    if manifest["format"] != FORMAT or not isinstance(manifest["files"], dict):
        raise DataError(f"{name}: {MANIFEST} is not of format {FORMAT}; promote again with this version")
    for file in sorted((set(manifest["files"]) ^ PARTS) - TREES):
        raise DataError(f"{name}: {MANIFEST}: {file} {'is not listed' if file in PARTS else 'is no part of a bundle'}")
    return manifest

"""What may go wrong between research and money, by name: each hazard is done to a sound bundle, candidate or registry, and must be refused
by whoever meets it first, in words that name it. Single bytes of each file are tried in test_bundle.py, leaks in test_leaky_features.py."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import small_bundle
from forger import reseal, rewrite, swap
from workspace import Workspace

from quantalpha import bundle, cli, config, features, promotion, rehearsal, runner, signing, tracking
from quantalpha.config import environment
from quantalpha.errors import DataError, GateRefused, QuantalphaError, UsageError
from quantalpha.features import FAMILIES, Feature
from quantalpha.files import sha256, tree_sha256
from quantalpha.market import stream
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.promotion import gate_proofs, tracked
from quantalpha.tracking import RunInfo

SETTINGS = ["venue.name=import", "synthetic.bars=1000", "synthetic.edge={BTCUSDT: 0.05}"]
MODEL = "import-BTCUSDT-1h"
TREES = "trees.txt"
ALICE, MALLORY = signing.new_key(), signing.new_key()


@dataclass
class World:
    """A workspace with two sealed bundles, `other` promoted and then `sealed`; `folder` is a copy of `sealed` to damage."""

    workspace: Workspace
    params: config.Params
    bars: pd.DataFrame
    other: bundle.Bundle
    sealed: bundle.Bundle
    folder: Path
    patch: pytest.MonkeyPatch

    def load(self) -> None:
        """As the registry asks for it."""
        bundle.load(self.folder, self.sealed.id)

    def load_forged(self) -> None:
        """As whoever is handed a folder asks for it."""
        bundle.load(self.folder)

    def run(self) -> None:
        runner.run_session(self.sealed, self.params, runner.Request(sessions=self.folder.parent / "sessions"))

    def promote(self) -> None:
        tracked.promote_run(self.attempt, rehearsal.terms(self.params))

    def find(self) -> None:
        promotion.candidates(self.attempt.name)

    def rollback(self) -> None:
        promotion.roll_back(MODEL, "paper", self.params)

    def command(self) -> None:
        cli.base.refuse_sealed(["policy.enter=0.9"])

    def forge(self, edit) -> None:
        self.folder = reseal(self.folder, edit)

    def trust(self, key: str) -> None:
        self.patch.setenv(signing.TRUSTED, signing.public_key(key))
        environment.cache_clear()

    def sign(self, key: str, id: str) -> None:
        self.patch.setenv(signing.SECRET, key)
        environment.cache_clear()
        signing.sign(self.folder, id)
        self.patch.delenv(signing.SECRET)
        environment.cache_clear()

    def candidate(self, **claims) -> Path:
        """The folder of a logged run's candidate, whose card stands for all of it; the bars it names lie where it says."""
        clean = self.workspace.root / "data/clean/BTCUSDT.parquet"
        clean.parent.mkdir(parents=True, exist_ok=True)
        clean.write_bytes(b"bars")
        made, card = self.folder.parent / "candidate", self.folder.parent / "candidate/candidate.json"
        made.mkdir()
        data = {"bars": {"path": "data/clean/BTCUSDT.parquet", "sha256": sha256(clean)}}
        named = {"symbol": "BTCUSDT", "timeframe": "1h", "venue": "import", "data": data, "lock_sha256": small_bundle.LOCK}
        card.write_text(json.dumps(named | claims))
        self.attempt = RunInfo(
            "id1", "walk_forward-BTCUSDT-lightgbm", "FINISHED", 0.0,
            {"symbol": "BTCUSDT", "sha256.candidate": tree_sha256(made)}, {"data.timeframe": "1h", "venue.name": "import"}, {},
        )  # fmt: skip

        def read(folder):
            origin = SimpleNamespace(**json.loads((folder / "candidate.json").read_text()))
            return SimpleNamespace(trained=SimpleNamespace(origin=origin))

        self.patch.setattr(tracked, "load_candidate", read)
        self.patch.setattr(tracking, "artifact_folder", lambda run_id: made.parent)
        return card


@pytest.fixture(scope="module")
def params() -> config.Params:
    return small_bundle.params(*SETTINGS)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory, params):
    """(workspace, bars, an earlier bundle, the champion)."""
    bars = synthetic_bars("BTCUSDT", params.synthetic)
    with pytest.MonkeyPatch.context() as patch:
        for name in (signing.SECRET, signing.TRUSTED, "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        workspace = Workspace(tmp_path_factory.mktemp("hazards"))
        with workspace.entered():
            bundles = workspace.root / "data/bundles"
            other, champion = (small_bundle.build(bundles, table, params) for table in (bars.iloc[:-100], bars))
            for each in (other, champion):
                tracking.register(MODEL, each.folder, "0" * 32, "paper")
    return workspace, bars, other, champion


@pytest.fixture
def world(sealed, params, tmp_path, monkeypatch):
    workspace, bars, other, champion = sealed
    kept = shutil.copytree(other.folder, tmp_path / "kept")
    with workspace.entered():
        folder = shutil.copytree(champion.folder, tmp_path / champion.id)
        yield World(workspace, params, bars, other, champion, folder, monkeypatch)
    shutil.rmtree(other.folder, ignore_errors=True)
    shutil.copytree(kept, other.folder)


def edited(name: str, change: Callable[[dict], object]):
    """One JSON file edited, nothing else."""

    def damage(world: World) -> None:
        value = json.loads((world.folder / name).read_text())
        change(value)
        (world.folder / name).write_text(json.dumps(value))

    return damage


def forged(name: str, change: Callable[[dict], object]):
    """One JSON file edited, and all hashes with it."""
    return lambda world: world.forge(rewrite(name, change))


def listed(change: Callable[[dict], object]):
    """The manifest's list of files edited."""
    return lambda world: world.forge(lambda folder, manifest: change(manifest["files"]))


def halved(world: World, name: str = TREES) -> None:
    path = world.folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def linked(world: World) -> None:
    (world.folder / "params.json").rename(world.folder.parent / "elsewhere")
    (world.folder / "params.json").symlink_to(world.folder.parent / "elsewhere")


def emptied(world: World) -> None:
    for path in world.folder.iterdir():
        path.unlink()


def moved_while_loading(world: World) -> None:
    """The registry said one id; what lies there by now is another bundle."""
    shutil.rmtree(world.folder)
    shutil.copytree(world.other.folder, world.folder)


def spec(**families):
    return lambda params: params["sections"]["features"].update(families)


def not_a_number(check: dict) -> None:
    check["predictions"][3][0] = float("nan")


def failed(gate: dict, **override) -> None:
    gate["lines"][0] |= {"passed": False} | override


def integrity(gate: dict) -> None:
    failed(gate, name="market_named", override={"who": "me@here", "time": "2026-01-01T00:00:00+00:00", "reason": "hurry"})


def nameless(gate: dict) -> None:
    failed(gate, override={"who": "", "time": "2026-01-01T00:00:00+00:00", "reason": "hurry"})


def signed(key: str, of: str | None = None):
    """Alice is trusted; `key` has signed this bundle, or the one of id `of`."""

    def damage(world: World) -> None:
        world.sign(key, world.sealed.id if of is None else of)
        world.trust(ALICE)

    return damage


def garbled_signature(world: World) -> None:
    (world.folder / signing.FILE).write_text(json.dumps({"public_key": "?", "signature": "?"}))


def another_rsi(lookback: int):
    """This code's rsi is not the one it was trained with."""

    def damage(world: World) -> None:
        flat = lambda window: Feature(f"rsi_{window}", lookback, ("close",), lambda held: held["close"] * 0 + 50)  # noqa: E731
        world.patch.setitem(FAMILIES, "rsi", flat)

    return damage


def another_lock(world: World) -> None:
    lock = world.workspace.root / "requirements.lock"
    world.patch.setattr("quantalpha.workspace.sha256", lambda path: "ee" * 32 if path == lock else sha256(path))


def another_venue(world: World) -> None:
    world.sealed = replace(world.sealed, venue="bybit")


def months_later(world: World) -> None:
    later = world.bars.tail(50).set_axis(world.bars.index[-50:] + pd.Timedelta("121d"))
    world.patch.setattr(stream, "backfill", lambda *_: asyncio.sleep(0, later))


def no_live_column(world: World) -> None:
    trades = Feature("trades_1", 1, ("trades",), lambda held: held["trades"])
    world.sealed = replace(world.sealed, features=features.FeatureSet([trades]))


def card_edited(world: World) -> None:
    card = world.candidate()
    card.write_text(card.read_text().replace("BTCUSDT", "DOGEUSDT"))


def clean_bars(change: Callable[[Path], object]):
    def damage(world: World) -> None:
        world.candidate()
        change(world.workspace.root / "data/clean/BTCUSDT.parquet")

    return damage


def sealed_bars_inside(world: World) -> None:
    """Judged by the real line; the rest of the gate is not asked."""
    start = world.bars.index[-5].to_pydatetime()
    world.candidate()
    case = SimpleNamespace(bars=world.bars, terms=SimpleNamespace(sealed_from=start))
    judged = promotion.GateReport("BTCUSDT-lightgbm", [gate_proofs.holdout_sealed(case)], {})
    world.patch.setattr(tracked, "candidate_bars", lambda folder: world.bars)
    world.patch.setattr(tracked, "judge", lambda _: judged)
    world.patch.setattr(tracked, "Case", SimpleNamespace(of=lambda *_: case))
    world.promote = lambda: (World.promote(world), judged.refuse())
    world.patch.setattr(tracking, "log_report", lambda *_: None)


def never_asked(world: World) -> None:
    """A candidate that does not tell which features were asked for: nobody can see that "auto" was fitted on training bars alone."""
    world.promote = lambda: gate_proofs.auto_from_training(SimpleNamespace(sections={"features": {}}, bars=world.bars))


def unfinished(world: World) -> None:
    world.candidate()
    stage = replace(world.attempt, status="RUNNING", tags=world.attempt.tags | {"mlflow.parentRunId": "p"}, metrics={"sharpe_ratio": 2.0})
    world.patch.setattr(tracking, "find_run", lambda wanted: stage)
    world.patch.setattr(tracking, "runs", lambda **_: [stage])


def at_first(world: World) -> None:
    """The alias has never moved."""
    tracking.register("import-ETHUSDT-1h", world.sealed.folder, "0" * 32, "paper")
    world.rollback = lambda: promotion.roll_back("import-ETHUSDT-1h", "paper", world.params)


def moved_meanwhile(world: World) -> None:
    """Another rollback, or a promotion, came between looking and moving."""
    world.rollback = lambda: tracking.roll_back(MODEL, "paper", (world.other.folder, world.sealed.folder), "")


DATA, GATE, USAGE = DataError, GateRefused, UsageError
HAZARDS: dict[str, tuple[Callable, str, type[QuantalphaError], str]] = {  # what is done, who must refuse it, how, and in which words
    "half-written bundle": (lambda w: (w.folder / "manifest.json").unlink(), "load", DATA, "manifest.json is missing: half-written"),
    "empty folder": (emptied, "load", DATA, "manifest.json is missing: half-written or no bundle"),
    "no folder": (lambda w: shutil.rmtree(w.folder), "load", DATA, "expected a folder, found none"),
    "truncated model": (halved, "load", DATA, f"{TREES} was altered"),
    "missing model file": (lambda w: (w.folder / TREES).unlink(), "load", DATA, f"{TREES} is missing"),
    "replaced model file": (lambda w: shutil.copy(w.other.folder / TREES, w.folder), "load", DATA, f"{TREES} was altered"),
    "edited threshold": (edited("params.json", lambda p: p["sections"]["policy"].update(enter=0)), "load", DATA, "params.json was altered"),
    "edited gate": (edited("gate.json", lambda g: g.update(passed=True, note="fine")), "load", DATA, "gate.json was altered"),
    "edited manifest": (edited("manifest.json", lambda m: m.update(until="2030-01-01")), "load", DATA, "manifest.json was altered"),
    "id of another bundle": (lambda w: w.forge(lambda *_: None), "load", DATA, "manifest.json was altered, or is another bundle's"),
    "alias moved during load": (moved_while_loading, "load", DATA, "manifest.json was altered, or is another bundle's"),
    "pickle inside": (lambda w: (w.folder / "model.pkl").write_bytes(b"\x80"), "load", DATA, "model.pkl does not belong to it"),
    "extra file": (lambda w: (w.folder / ".hidden").write_text("x"), "load", DATA, ".hidden does not belong to it"),
    "folder inside": (lambda w: (w.folder / "sub").mkdir(), "load", DATA, "sub is a link or a folder"),
    "link inside": (linked, "load", DATA, "params.json is a link"),
    "dangling link inside": (lambda w: (w.folder / "loop").symlink_to("nowhere"), "load", DATA, "loop is a link"),
    "forged policy": (forged("params.json", lambda p: p["sections"]["policy"].update(enter=0)), "load", DATA, "is another bundle's"),
    "wrong symbol": (forged("params.json", lambda p: p.update(symbol="ETHUSDT")), "load", DATA, "is another bundle's"),
    "wrong timeframe": (forged("params.json", lambda p: p.update(timeframe="4h")), "load", DATA, "is another bundle's"),
    "pickle listed": (listed(lambda f: f.update({"model.pkl": "0" * 64})), "load_forged", DATA, "model.pkl is no part of a bundle"),
    "file outside": (listed(lambda f: f.update({"../out.json": "0" * 64})), "load_forged", DATA, "out.json is no part of a bundle"),
    "absolute path": (listed(lambda f: f.update({"/etc/hostname": "0" * 64})), "load_forged", DATA, "hostname is no part of a bundle"),
    "gate not listed": (listed(lambda f: f.pop("gate.json")), "load_forged", DATA, "gate.json is not listed"),
    "future format": (lambda w: w.forge(lambda _, m: m.update(format=2)), "load_forged", DATA, "not of format 1"),
    "manifest without files": (lambda w: w.forge(lambda _, m: m.pop("files")), "load_forged", DATA, "'files' is missing"),
    "files no table": (lambda w: w.forge(lambda _, m: m.update(files=[])), "load_forged", DATA, "not of format 1"),
    "model of kind pickle": (forged("model.json", lambda m: m.update(kind="pickle")), "load_forged", DATA, "no model 'pickle'"),
    "unknown model kind": (forged("model.json", lambda m: m.update(kind="xgbost")), "load_forged", DATA, "did you mean 'xgboost'"),
    "another model's trees": (lambda w: w.forge(swap(w.other.folder, TREES, "model.json")), "load_forged", DATA, "stored predictions"),
    "missing feature list": (forged("params.json", lambda p: p.pop("feature_list")), "load_forged", DATA, "'feature_list' is missing"),
    "reordered columns": (forged("params.json", lambda p: p["feature_list"].reverse()), "load_forged", DATA, "trained on feature"),
    "wrong lookback": (forged("params.json", lambda p: p["feature_list"][0].update(lookback=9)), "load_forged", DATA, "trained on feature"),
    "other features asked": (forged("params.json", spec(rsi=[6])), "load_forged", DATA, "rsi_5.*rsi_6"),
    "unknown feature": (forged("params.json", spec(magic=[3])), "load_forged", DATA, "'magic'"),
    "feature lookback changed": (another_rsi(3), "load", DATA, "trained on feature .*rsi_5"),
    "feature code changed": (another_rsi(features.build({"rsi": [5]}).lookback), "load", DATA, "computes feature rsi_5 otherwise"),
    "missing section": (forged("params.json", lambda p: p["sections"].pop("account")), "load_forged", DATA, "account"),
    "missing brackets": (forged("params.json", lambda p: p.pop("brackets")), "load_forged", DATA, "'brackets' is missing"),
    "impossible policy": (forged("params.json", lambda p: p["sections"]["policy"].update(enter=7)), "load_forged", DATA, "Policy.enter"),
    "unknown cost": (forged("params.json", lambda p: p["sections"]["costs"].update(free=1)), "load_forged", DATA, "CostParams.free"),
    "other prediction": (forged("check.json", lambda c: c["predictions"][3].reverse()), "load_forged", DATA, "stored predictions"),
    "NaN prediction": (forged("check.json", not_a_number), "load_forged", DATA, "predictions"),
    "other check bars": (forged("check.json", lambda c: c["bars"]["close"].__setitem__(-2, 1.0)), "load_forged", DATA, "otherwise than in"),
    "gate that failed": (forged("gate.json", failed), "load_forged", GATE, "failed: test"),
    "gate without lines": (forged("gate.json", lambda g: g.update(lines=[])), "load_forged", GATE, "nothing was judged"),
    "gate without its key": (forged("gate.json", lambda g: g.pop("lines")), "load_forged", DATA, "gate.json: 'lines' is missing"),
    "integrity overridden": (forged("gate.json", integrity), "load_forged", GATE, "market_named .its override is not valid: it would"),
    "override by nobody": (forged("gate.json", nameless), "load_forged", GATE, "test .its override is not valid.*says who, when and why"),
    "unsigned": (lambda w: w.trust(ALICE), "load", DATA, "not signed, but QUANTALPHA_TRUSTED_KEYS is set"),
    "signed by another key": (signed(MALLORY), "load", DATA, "signed by key .*, which is not in QUANTALPHA_TRUSTED_KEYS"),
    "signature of another bundle": (signed(ALICE, "ab" * 32), "load", DATA, "signature.json is not of this bundle"),
    "malformed signature": (garbled_signature, "load", DATA, "signature.json is malformed"),
    "other lock at run": (another_lock, "run", DATA, "made under another requirements.lock .*eeeeeeeeeeee"),
    "wrong venue": (another_venue, "run", USAGE, "made from data of bybit, but params.venue is import"),
    "stale data": (months_later, "run", DATA, "stale: it learnt from bars up to 2021-02-11.*runner.max_model_age is 120d"),
    "no such live column": (no_live_column, "run", DATA, "needs column 'trades'"),
    "sealed section set at run": (lambda w: None, "command", USAGE, "policy.enter: sealed with the model"),
    "candidate altered": (card_edited, "promote", DATA, "its candidate was altered since the pipeline recorded it"),
    "market renamed in card": (lambda w: w.candidate(symbol="DOGEUSDT"), "promote", DATA, "is named DOGEUSDT 1h on import"),
    "bars changed since": (clean_bars(lambda p: p.write_bytes(b"other")), "promote", DATA, "bars this candidate was made from have"),
    "bars gone": (clean_bars(lambda p: p.unlink()), "promote", DATA, "bars this candidate was made from are gone"),
    "other lock at promotion": (lambda w: w.candidate(lock_sha256="dd" * 32), "promote", DATA, "made under another requirements.lock"),
    "sealed bars inside": (sealed_bars_inside, "promote", GATE, "holdout_sealed: made from bars up to .*, 5 of them from holdout.start"),
    "features not asked for": (never_asked, "promote", DATA, "does not tell which features were asked for"),
    "run not finished": (unfinished, "find", USAGE, "holds no finished walk_forward stage"),
    "nothing before": (at_first, "rollback", USAGE, "pointed to no bundle before this one"),
    "bundle before gone": (lambda w: shutil.rmtree(w.other.folder), "rollback", DATA, "expected a folder, found none"),
    "bundle before damaged": (lambda w: (w.other.folder / TREES).write_text(""), "rollback", DATA, f"{TREES} was altered"),
    "bundle before of another lock": (another_lock, "rollback", DATA, "made under another requirements.lock"),
    "alias moved during rollback": (moved_meanwhile, "rollback", USAGE, "was moved meanwhile"),
}  # fmt: skip


@pytest.mark.parametrize("name", HAZARDS)
def test_it_is_refused_by_name(world, name):
    damage, who, error, says = HAZARDS[name]
    damage(world)
    with pytest.raises(error, match=says) as refused:
        getattr(world, who)()
    assert type(refused.value) is error and "\n" not in str(refused.value)
    assert tracking.find_alias(MODEL, "paper") == world.sealed.folder, "whatever was refused, the champion stays"


@pytest.mark.parametrize("who", ["load", "load_forged", "rollback"])
def test_without_a_hazard_nobody_refuses(world, who):
    getattr(world, who)()
    tracking.register(MODEL, world.sealed.folder, "0" * 32, "paper")


def test_there_are_enough_of_them():
    assert len(HAZARDS) >= 35

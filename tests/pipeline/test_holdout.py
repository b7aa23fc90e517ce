"""The pipeline with a hold-out: what the research notebooks leave behind holds no sealed bar."""

import json

import pandas as pd
import pytest
from workspace import CHECKOUT, Workspace, words

from quantalpha import config
from quantalpha.market.synthetic import synthetic_bars

START = "2021-02-10"
SETTINGS = {
    "venue.name": "import", "data.symbols": ["BTCUSDT"], "data.end": "2021-03-10", "holdout.start": START, "context.leaders": ["BTCUSDT"]
}  # fmt: skip


@pytest.fixture(scope="module")
def bars():
    return synthetic_bars("BTCUSDT", config.load("demo", ["synthetic.bars=2000"]).synthetic)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, bars):
    """Imported bars on both sides of the hold-out."""
    made = Workspace(tmp_path_factory.mktemp("sealed"))
    bars.loc[:"2021-03-09"].reset_index().to_parquet(made.root / "own.parquet")
    imported = made.run("import", str(made.root / "own.parquet"), "--symbol", "BTCUSDT", "--timeframe", "1h")
    assert imported.code == 0, imported.err
    return made


def run(workspace, **changed):
    return workspace.run("pipeline", "run", "--only", "clean", "--json", *words(SETTINGS | changed))


def test_the_clean_stage_ends_at_the_holdout(workspace, bars):
    done = run(workspace)
    assert done.code == 0, done.err
    clean = pd.read_parquet(workspace.root / "data/clean/BTCUSDT.parquet")
    assert clean.index.equals(bars.loc[:"2021-02-09"].index) and clean["BTCUSDT.close"].notna().all()
    report = json.loads((workspace.root / "data/clean/BTCUSDT.json").read_text())
    assert report["last"] == "2021-02-09T23:00:00Z"
    manifest = json.loads((workspace.root / "data/raw/BTCUSDT.manifest.json").read_text())
    assert [month["file"][-15:] for month in manifest["1h"]] == ["2021-01.parquet", "2021-02.parquet"]
    for notebook in (workspace.root / "data/pipeline").rglob("*.ipynb"):
        outputs = [output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", [])]
        assert "2021-03" not in json.dumps([output for output in outputs if "text" in json.dumps(output)])


def test_a_notebook_that_reaches_beyond_it_stops_with_one_clear_error(workspace):
    path = workspace.root / "notebooks/02_clean.ipynb"
    sound = path.read_text()
    path.write_text(sound.replace("settings.data.start, end)", "settings.data.start, settings.data.end)"))
    try:
        run(workspace, **{"clean.max_missing": 0.03}).complains(4, "sealed (holdout.start)", "quantalpha holdout open")
    finally:
        path.write_text(sound)


def test_without_a_holdout_all_bars_are_there(workspace, bars):
    done = run(workspace, **{"holdout.start": None})
    assert done.code == 0, done.err
    assert pd.read_parquet(workspace.root / "data/clean/BTCUSDT.parquet").index.equals(bars.loc[:"2021-03-09"].index)


def test_no_notebook_opens_the_lake_by_another_door():
    """01 hands the whole lake to the download and reads it through the door of research, as 02 does."""
    for notebook in CHECKOUT.joinpath("notebooks").rglob("*.ipynb"):
        code = "".join("".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code")
        fetched = code.replace('market.download_symbol(settings.venue, settings.data, symbol, market.Lake(config.path("data/raw")))', "")
        assert "Lake(" not in fetched and "data/raw/import" not in fetched, notebook.name

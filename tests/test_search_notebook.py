"""Notebook 05 with a search: its tables, its figures and what it leaves."""

import json

import pandas as pd
from searches import FEATURES, SMALL, tape
from workspace import Workspace

from quantalpha import config
from quantalpha.backtest.walk_forward import WalkForward
from quantalpha.features import build
from quantalpha.labels import label
from quantalpha.validation.trials import Trials


def test_the_training_notebook_searches_and_shows_what_it_chose(tmp_path):
    workspace = Workspace(tmp_path)
    settings = config.load(overrides=[*SMALL, "search.trials=6", "pipeline.workers=1", "venue.source=notebook"])
    with workspace.entered():
        bars, paths = tape(), {name: f"data/{name}.parquet" for name in ("features", "labels", "bars")}
        (tmp_path / "data").mkdir()
        for name, table in (("features", build(FEATURES).compute(bars)), ("labels", label(bars, settings.labels)), ("bars", bars)):
            table.to_parquet(tmp_path / paths[name])
        own = {
            "params": settings.model_dump(mode="json"),
            "trained": "data/trained",
            "metrics": "data/metrics.json",
            "contributions": "data/contributions.csv",
        } | paths
        shown = _run(tmp_path / "notebooks/05_train_boosting.ipynb", own)
        walk = WalkForward.load(tmp_path / "data/trained")
    table = shown["search_report.choices(found.studies)"]
    assert table.index.tolist() == [0, "final"] and table["trees"].tolist() == [one["trees"] for one in walk.chosen]
    assert sum(type(value).__name__ == "Figure" for value in shown.values()) >= 4
    assert len(pd.read_csv(tmp_path / "data/trained/trials.csv")) == 12
    folds = json.loads((tmp_path / "data/metrics.json").read_text())["folds"]
    assert [fold["study"]["chosen"] for fold in folds] == list(walk.chosen)
    roles = [context["role"] for context in Trials().frame(study="notebook-BTCUSDT-1h")["context"]]
    assert roles.count("train") == 12 and roles.count("forecast") == 1 == len(roles) - 12


def _run(notebook, own: dict) -> dict:
    """What the last expression of each cell comes to, by the text of its first line up to ` if`."""
    names, shown = {}, {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        *body, last = "".join(cell["source"]).rstrip().split("\n")
        exec("\n".join(body), names)
        try:
            shown[last.split(" if")[0]] = eval(last, names)
        except SyntaxError:
            exec(last, names)
        names |= own if "parameters" in cell["metadata"].get("tags", []) else {}
    return shown

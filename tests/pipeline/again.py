"""A small run to be made again: two boosted models of imported bars, in a repository with changes that were not committed."""

import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from workspace import entered

from quantalpha import config, market, pipeline, tracking
from quantalpha.errors import StageFailed
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.pipeline import execute, sources

from .support import CHECKOUT, Workspace, run_here

SETTINGS = ["data.symbols=[BTCUSDT]", "models.lightgbm.trees=5", "models.xgboost.trees=5"]
FETCH = (
    "import json\nfrom quantalpha import config, market\nsymbol: str = ''\nmanifest: str = ''",
    "listing = market.Lake(config.path('data/raw')).manifest('import', symbol, ['1h'])\n"
    "config.path(manifest).write_text(json.dumps(listing, indent=1) + '\\n')",
)
TRAIN = (
    "import json, os\nfrom pathlib import Path\nimport numpy as np, pandas as pd\nimport helper\n"
    "from quantalpha import config, market, models\n"
    "symbol: str = ''\nmodel: str = ''\nmanifest: str = ''\ntrained: str = ''\nmetrics: str = ''\nparams: dict = {}",
    "settings = config.stage_params(params)\nlisting = json.loads(config.path(manifest).read_text())\n"
    "bars, *_ = market.Lake(config.path('data/raw')).read_listed(listing, 'import', symbol)\n"
    "moves = bars['close'].pct_change().to_numpy()\nx, y = helper.table(moves), np.sign(moves[4:]).astype(int)",
    "fitted = models.fitter(model, settings.models)(x, y, np.ones(len(y)))\nedge = fitted.predict(x)[:, 0]\n"
    "folder = Path(trained)\nfolder.mkdir(exist_ok=True)\nfitted.save(folder)\n"
    "pd.DataFrame({'edge': edge}).to_parquet(folder / 'forecasts.parquet')\n"
    "Path(metrics).write_text(json.dumps({'edge': float(edge.mean()), 'drift': float(os.environ.get('DRIFT', 0))}))",
)
HELPER = "import numpy as np\n\n\ndef table(moves):\n    return np.column_stack([np.roll(moves, lag)[4:] for lag in (1, 2, 3)])\n"


def prepare(workspace: Workspace) -> Workspace:
    """Notebooks, lake and package in a repository: what is committed, then what is not."""
    workspace.notebook("fetch", *FETCH)
    workspace.notebook("train", *TRAIN[:2])
    workspace.write(".gitignore", "data/*\nmlruns/*\n__pycache__/\n")
    workspace.write(".gitattributes", "* text=auto\n")
    shutil.copytree(CHECKOUT / "quantalpha", workspace.root / "quantalpha", ignore=shutil.ignore_patterns("__pycache__"))
    made = {"trained": "data/models/{symbol}-{model}", "metrics": "data/models/{symbol}-{model}.json"}
    listed = {"manifest": "data/raw/{symbol}.manifest.json"}
    workspace.pipeline(
        "small",
        fetch={"notebook": "fetch", "foreach": "symbol", "outputs": listed},
        train={"notebook": "train", "foreach": ["symbol", "model"], "params": ["models"], "inputs": listed, "outputs": made},
    )
    store(workspace, bars().iloc[:1000])
    git(workspace.root, "init", "-q")
    commit(workspace)
    workspace.notebook("train", *TRAIN)
    workspace.write("helper.py", HELPER)  # new, and not yet known to git
    return workspace


def bars():
    made = synthetic_bars("BTCUSDT", config.load("demo", ["synthetic.bars=1200"], source=CHECKOUT / "params.yaml").synthetic)
    return made[["open", "high", "low", "close", "volume"]]


def store(workspace: Workspace, rows, replace: bool = False) -> None:
    """Puts bars of January and of a February that is not over into the lake."""
    lake, over = market.Lake(workspace.root / "data/raw"), int(rows.index[0].timestamp() * 1000) + 31 * 86_400_000
    lake.write("import", "BTCUSDT", "1h", rows, source="made", complete_before=over, replace=replace)


def git(root: Path, *words: str) -> str:
    who = ["-c", "user.name=q", "-c", "user.email=q@example.org"]
    return subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True, text=True).stdout


def commit(workspace: Workspace) -> None:
    git(workspace.root, "add", "--all")
    git(workspace.root, "commit", "-q", "-m", "state")


@contextmanager
def inside(root: Path, **environment: str):
    """This process works in a workspace with a package of its own, without kernels."""
    with entered(root, **environment), patch.object(sources, "PACKAGE", root / "quantalpha"), patch.object(execute, "execute", run_here):
        yield


def record(root: Path) -> str:
    """Runs and logs the pipeline; the run's id."""
    with inside(root), imports(root):
        return pipeline.run("small", "default", SETTINGS, progress=False).run_id


def run_again(recipe: dict, stages: list[str], root: Path, quiet: bool) -> None:
    """Stands for the process of the scratch workspace: its pipeline here, without kernels, tracked nowhere."""
    with inside(root), imports(root), patch.object(tracking, "log_run", lambda run: "scratch"), suppress(StageFailed):
        pipeline.run(recipe["pipeline"], recipe["profile"], only=stages, progress=False)


@contextmanager
def imports(root: Path):
    """Modules beside params.yaml can be imported, as in a kernel, and are forgotten again."""
    with patch.object(sys, "path", [str(root), *sys.path]):
        sys.modules.pop("helper", None)
        yield
    sys.modules.pop("helper", None)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

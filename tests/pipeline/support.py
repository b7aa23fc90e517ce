"""What the pipeline's tests share: a workspace of small notebooks, and a worker without a kernel."""

import json
import shutil
import tempfile
from pathlib import Path

import yaml

from quantalpha.pipeline import RunReport, execute
from quantalpha.pipeline.execute import Done, Fault, Job

CHECKOUT = Path(__file__).resolve().parents[2]


class Workspace:
    """Writes what a test needs under `root`."""

    def __init__(self, root: Path):
        self.root = root
        for folder in ("notebooks", "pipelines", "data"):
            (root / folder).mkdir()
        shutil.copy(CHECKOUT / "params.yaml", root / "params.yaml")
        self.write("requirements.lock", "numpy==1\n")

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def notebook(self, name: str, parameters: str | None, *cells: str, markdown: str = "# Question") -> None:
        """A notebook of a heading, a cell tagged `parameters` (None: without) and code cells."""
        code = [_cell(parameters, ["parameters"])] if parameters is not None else []
        heading = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": markdown}
        body = [heading, *code, *(_cell(source, []) for source in cells)]
        for number, cell in enumerate(body):
            cell["id"] = f"cell{number}"
        self.write(f"notebooks/{name}.ipynb", json.dumps({"cells": body, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))

    def pipeline(self, name: str, **stages) -> None:
        self.write(f"pipelines/{name}.yaml", yaml.safe_dump({"stages": stages}, sort_keys=False))


def _cell(source: str, tags: list[str]) -> dict:
    return {"cell_type": "code", "metadata": {"tags": tags}, "source": source, "outputs": [], "execution_count": None}


def run_here(job: Job) -> Done:
    """Stands for a worker: the notebook's cells in this process, without a kernel."""
    folder = Path(tempfile.mkdtemp(dir=job.scratch))
    outputs = {name: execute._output(folder / "outputs" / name, path) for name, path in job.outputs.items()}
    (folder / "notebook.ipynb").write_text(job.notebook)
    names: dict = {}
    for number, cell in enumerate(c for c in json.loads(job.notebook)["cells"] if c["cell_type"] == "code"):
        try:
            exec(cell["source"], names)
        except Exception as error:
            return Done(str(folder), outputs, 0.0, Fault(number + 1, type(error).__name__, str(error)))
        names |= job.parameters | outputs if number == 0 else {}
    return Done(str(folder), outputs, 0.0, None)


def executed(report: RunReport) -> list[str]:
    """Ids of the stages a run executed."""
    return sorted(row["id"] for row in report.rows if row["status"] == "done")


PREPARE = (
    "from pathlib import Path\nsymbol: str = ''\nraw: str = ''\nclean: str = ''\nparams: dict = {}",
    "Path(clean).write_text(symbol + Path(raw).read_text().upper() + str(params['labels']['horizon']))",
)
JOIN = (
    "import json\nfrom pathlib import Path\neach: list[str] = []\nmetrics: str = ''\nmodel: str = ''\nparams: dict = {}",
    "from quantalpha import timeframe\ntext = ''.join(Path(p).read_text() for p in each) * params['splits']['test']",
    "folds = [{'rows': 1, 'start': '2021'}, {'rows': 2, 'start': '2022'}]\n"
    "Path(metrics).write_text(json.dumps({'length': len(text), 'folds': folds}))\n"
    "Path(model).mkdir(exist_ok=True)\n(Path(model) / 'model.txt').write_text(text)",
)

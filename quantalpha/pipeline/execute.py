"""Runs notebooks: each in a process of its own, on this machine or on a Dask cluster. The driver hashes and moves files; a worker only
executes, and writes nothing outside its scratch folder.

    local or dask executor -> `execute` (a thread, or a Dask worker) -> process running `main` (papermill) -> kernel

A worker process watches its scratch folder and its parent: when either is gone it ends its kernel and itself.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from quantalpha.config import Pipeline, mask
from quantalpha.errors import UsageError
from quantalpha.pipeline.digests import Digests
from quantalpha.pipeline.sources import PACKAGE

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """One notebook, given as text, to run. Paths are absolute; `outputs` maps a parameter's name to the file or folder it writes."""

    root: str
    notebook: str
    parameters: dict
    outputs: dict[str, str]
    scratch: str
    package: dict[str, str]  # sha256 of the package files it was hashed by: a worker with other ones refuses
    sends: bool = False  # it sends tasks of its own to the Dask workers: it must not hold one of their threads while it waits for them


@dataclass(frozen=True)
class Done:
    """What a worker reports. `folder` holds `notebook.ipynb` and `outputs`; `error` is None when all cells ran."""

    folder: str
    outputs: dict[str, str]
    seconds: float
    error: "Fault | None"


@dataclass(frozen=True)
class Fault:
    """Why a notebook stopped: `cell` counts its code cells from 1 (0: outside any cell)."""

    cell: int
    name: str
    text: str


@contextmanager
def executor(settings: Pipeline):
    """A `concurrent.futures.Executor` as `params.yaml` asks for: threads that start processes here, or a Dask cluster by its address."""
    if settings.executor == "local":
        with ThreadPoolExecutor(settings.workers) as pool:
            yield pool
        return
    from distributed import Client

    try:
        client = Client(settings.dask_address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"pipeline.dask_address: no Dask scheduler answers at {settings.dask_address} ({type(error).__name__})") from None
    with client:
        if not client.nthreads():
            raise UsageError(f"pipeline.dask_address: the Dask scheduler at {settings.dask_address} has no workers; start some")
        yield client.get_executor(pure=False)


def submit(pool: Executor, job: Job):
    """A future of `Done`."""
    return pool.submit(execute, job)


def execute(job: Job) -> Done:
    """Runs one notebook in a fresh process and waits for it."""
    if job.sends:
        from distributed import secede

        secede()
    started = time.perf_counter()
    folder = Path(tempfile.mkdtemp(dir=job.scratch))
    outputs = {name: _output(folder / "outputs" / name, path) for name, path in job.outputs.items()}
    order = asdict(job) | {"folder": str(folder), "parent": os.getpid(), "parameters": job.parameters | outputs}
    command = [sys.executable, "-c", "from quantalpha.pipeline.execute import main; main()"]
    process = subprocess.run(
        command,
        input=json.dumps(order),
        text=True,
        capture_output=True,
        check=False,
        cwd=job.root,
        env=_environment(job, folder),
        start_new_session=True,  # Ctrl-C is the driver's to handle
    )
    return Done(str(folder), outputs, time.perf_counter() - started, _fault(folder, process))


def _output(folder: Path, path: str) -> str:
    folder.mkdir(parents=True)
    return str(folder / Path(path).name)


def _environment(job: Job, folder: Path) -> dict[str, str]:
    """The worker's and kernel's environment: one thread each, no private IPython profile, figures inline."""
    kept = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONHASHSEED": "0"}
    return kept | dict.fromkeys(THREADS, "1") | quiet | {"QUANTALPHA_ROOT": job.root, "IPYTHONDIR": str(folder / "ipython")}


def _fault(folder: Path, process: subprocess.CompletedProcess) -> Fault | None:
    result = folder / "result.json"
    if process.returncode == 0 and result.is_file():
        fault = json.loads(result.read_text())
        return None if fault is None else Fault(**fault)
    if process.returncode < 0:
        return Fault(0, "WorkerDied", f"the worker process was killed by signal {-process.returncode} (out of memory?)")
    last = mask(process.stderr).strip().splitlines()[-1:] or ["the worker process ended early"]
    return Fault(0, "WorkerDied", last[0])


def main() -> None:
    """Body of a worker process: an order on stdin, the result in the scratch folder."""
    order = json.load(sys.stdin)
    folder = Path(order["folder"])
    with tempfile.TemporaryDirectory(prefix="quantalpha-") as sockets:
        threading.Thread(target=_watch, args=(folder, order["parent"], sockets), daemon=True).start()
        fault = _other_source(order["package"]) or _run_notebook(order, folder, sockets)
    (folder / "result.json").write_text(json.dumps(fault and asdict(fault)))


def _other_source(package: dict[str, str]) -> Fault | None:
    digests = Digests()
    for path, expected in package.items():
        if digests.path(PACKAGE.parent / path) != expected:
            return Fault(0, "SourceDiffers", f"the worker's {path} is not the driver's: edited meanwhile, or of another version")
    return None


def _watch(folder: Path, parent: int, sockets: str) -> None:
    """Ends this process and its kernel when nobody waits for them any more."""
    while folder.exists() and os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    shutil.rmtree(sockets, ignore_errors=True)  # the kernel may be removing them itself
    os._exit(1)


def _run_notebook(order: dict, folder: Path, sockets: str) -> Fault | None:
    sys.modules["rfc3987_syntax"] = None  # jsonschema would spend 0.7 s building a grammar for checking web addresses, unused here
    import nbformat
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.iorw import papermill_io
    from traitlets.config import Config

    final = {order["parameters"][name]: f"{order['root']}/{path}" for name, path in order["outputs"].items()}
    papermill_io.register("kept://", _KeptNotebook(final))
    source = nbformat.reads(order["notebook"], as_version=4)
    wire = Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"})  # files: kernels do not race for ports
    try:
        papermill.execute_notebook(
            source,
            f"kept://{folder}/notebook.ipynb",
            order["parameters"],
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=order["root"],
            config=wire,
        )
    except papermill.PapermillExecutionError as error:
        text = _printed(folder, error.cell_index) if error.ename == "CellExecutionError" else error.evalue
        return Fault(_cell_number(folder, error.cell_index), error.ename, _last_lines(text))
    except (DeadKernelError, CellTimeoutError, NoSuchKernel, RuntimeError) as error:
        return Fault(_cell_number(folder, None), type(error).__name__, _last_lines(str(error)))
    return None


class _KeptNotebook:
    """How papermill writes the executed notebook, at every save: without secrets, and with the outputs' final paths for scratch paths."""

    def __init__(self, final: dict[str, str]):
        self._final = final

    def write(self, text: str, path: str) -> None:
        Path(path.removeprefix("kept://")).write_text(json.dumps(self._cleared(json.loads(text)), indent=1))

    def pretty_path(self, path: str) -> str:
        return path

    def _cleared(self, value):
        """A JSON value with its texts cleared."""
        if isinstance(value, dict):
            return {key: self._cleared(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._cleared(entry) for entry in value]
        if not isinstance(value, str):
            return value
        for scratch, target in self._final.items():
            value = value.replace(scratch, target)
        return mask(value)


def _cell_number(folder: Path, index: int | None) -> int:
    """Place among the code cells of the notebook as written, from 1 (0: none); `index` None: the last cell that was started."""
    if not (folder / "notebook.ipynb").is_file():
        return 0
    cells = _cells(folder)
    own = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code" and "injected-parameters" not in cell["metadata"]["tags"]]
    if index is None:
        index = max((i for i in own if cells[i]["metadata"]["papermill"]["start_time"] is not None), default=None)
    return own.index(index) + 1 if index in own else 0


def _cells(folder: Path) -> list[dict]:
    """Cells of the notebook as written, without those papermill adds to show an error."""
    cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
    return [cell for cell in cells if "papermill-error-cell-tag" not in cell["metadata"]["tags"]]


def _printed(folder: Path, index: int) -> str:
    """What a cell wrote to standard error: IPython only prints an exception group, and reports no error."""
    outputs = _cells(folder)[index]["outputs"]
    return "".join("".join(output["text"]) for output in outputs if output.get("name") == "stderr")


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in mask(text).splitlines() if line.strip()]
    return " | ".join(lines[-3:])[:1000]

"""Two hundred tries from everywhere at once: kernels, a pool of processes, Dask workers and a process that is killed."""

import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import nbformat
import papermill

from quantalpha.validation.trials import Trials, Try

TRIES = 200
BY_KERNEL = """
from pathlib import Path
from quantalpha.validation.trials import Trials, Try
for number in range({first}, {last}):
    Trials(Path({ledger!r})).record(Try("bars", "rule", {{"n": number}}, "code", {{"sharpe_ratio": number / 100}}, study="all"))
"""
LEFT = BY_KERNEL + "print('made', flush=True)\nimport time\ntime.sleep(600)\n"


def one(number):
    return Try("bars", "rule", {"n": number}, "code", {"sharpe_ratio": number / 100}, study="all")


def score(ledger, number):
    return Trials(ledger).record(one(number))


def in_a_kernel(ledger, first, last, folder):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BY_KERNEL.format(first=first, last=last, ledger=str(ledger)))])
    path = folder / f"from_{first}.ipynb"
    nbformat.write(notebook, path)
    papermill.execute_notebook(str(path), str(folder / f"done_{first}.ipynb"), kernel_name="python3", progress_bar=False)


def on_dask(ledger, numbers, folder):
    from distributed import Client, LocalCluster

    place = {"dashboard_address": None, "host": "127.0.0.1", "local_directory": str(folder / "dask")}
    with LocalCluster(2, threads_per_worker=2, processes=True, **place) as cluster, Client(cluster) as client:
        client.gather(client.map(score, [ledger] * len(numbers), numbers, pure=False))


def and_is_killed(ledger, first, last):
    """What it had scored is in the ledger; that its work was left for good changes nothing."""
    code = LEFT.format(first=first, last=last, ledger=str(ledger))
    left = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert left.stdout.readline() == "made\n"
    left.send_signal(signal.SIGKILL)
    assert left.wait() == -signal.SIGKILL
    left.stdout.close()


def test_two_hundred_tries_from_everywhere_are_two_hundred(tmp_path):
    """Each way overlaps its neighbour's numbers, the pool makes all of its tries twice, and one kernel runs again."""
    ledger = Path(tmp_path / "mlruns" / "trials.db")
    with ThreadPoolExecutor(4) as ways, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        made = [
            ways.submit(in_a_kernel, ledger, 0, 60, tmp_path),
            ways.submit(in_a_kernel, ledger, 40, 100, tmp_path),
            ways.submit(on_dask, ledger, list(range(90, 140)), tmp_path),
            ways.submit(and_is_killed, ledger, 130, 160),
            *(pool.submit(score, ledger, number) for number in [*range(150, TRIES)] * 2),
        ]
        for each in made:
            each.result()
    in_a_kernel(ledger, 0, 60, tmp_path)
    found = Trials(ledger).frame(study="all")
    assert sorted(params["n"] for params in found["params"]) == list(range(TRIES))
    assert set(found["key"]) == {one(number).key for number in range(TRIES)}

"""What a run executes and skips, records and reports. Stages run without kernels here; see test_kernels.py for real ones."""

import json
import os
import shutil

import pytest
import yaml

import quantalpha
from quantalpha import errors, pipeline, tracking
from quantalpha.errors import StageFailed, UsageError
from quantalpha.pipeline import sources
from quantalpha.pipeline.folder import Folder

from .support import JOIN, PREPARE, executed

pytestmark = pytest.mark.usefixtures("no_kernel", "no_tracking")
ALL = ["join", "prepare-BTCUSDT", "prepare-ETHUSDT"]


def run(*overrides: str, **options) -> pipeline.RunReport:
    return pipeline.run("chain", "default", overrides, progress=False, **options)


def reasons(*overrides: str) -> dict[str, tuple[str, str]]:
    return {row["id"]: (row["status"], row["reason"]) for row in pipeline.status("chain", "default", overrides)}


def test_the_first_run_executes_all_and_the_second_nothing(chain):
    assert reasons() == dict.fromkeys(ALL, ("never run", ""))
    assert executed(run()) == ALL
    assert json.loads(chain.read("data/join.json"))["length"] == len("BTCUSDTA24ETHUSDTB24") * 2190
    again = run()
    assert [row["status"] for row in again.rows] == ["fresh"] * 3
    assert reasons() == dict.fromkeys(ALL, ("fresh", ""))


def edit_markdown(chain):
    chain.notebook("prepare", *PREPARE, markdown="# Another question")


def edit_code(chain):
    chain.notebook("join", *JOIN, "pass")


def edit_parameters_default(chain):
    chain.notebook("join", JOIN[0] + "\nextra: int = 1", *JOIN[1:])


def edit_input(chain):
    chain.write("data/raw/ETHUSDT.txt", "c")


def edit_input_without_effect(chain):
    chain.write("data/raw/ETHUSDT.txt", "B")  # upper case already: the output stays the same, so join stays fresh


def edit_lock(chain):
    chain.write("requirements.lock", "numpy==2\n")


def damage_output(chain):
    chain.write("data/clean/BTCUSDT.txt", "damaged")


def remove_output(chain):
    shutil.rmtree(chain.root / "data/model")


def drop_kept_notebooks(chain):
    shutil.rmtree(chain.root / "data/pipeline/chain/notebooks")


@pytest.mark.parametrize(
    ("change", "stages", "reason"),
    [
        (edit_markdown, [], ""),
        (drop_kept_notebooks, [], ""),
        (edit_code, ["join"], "notebook notebooks/join.ipynb"),
        (edit_parameters_default, ["join"], "notebook notebooks/join.ipynb"),
        (edit_input, ["join", "prepare-ETHUSDT"], "input data/raw/ETHUSDT.txt"),
        (edit_input_without_effect, ["prepare-ETHUSDT"], "input data/raw/ETHUSDT.txt"),
        (edit_lock, ALL, "lock requirements.lock"),
        (damage_output, ["prepare-BTCUSDT"], "output data/clean/BTCUSDT.txt was changed"),
        (remove_output, ["join"], "output data/model is missing"),
    ],
)
def test_a_change_runs_what_depends_on_it_and_status_says_why(chain, change, stages, reason):
    run()
    before = chain.read("data/join.json")
    change(chain)
    stale = [text for status, text in reasons().values() if status == "stale"]
    assert any(reason in text for text in stale) if stages else stale == []
    assert executed(run()) == stages
    assert executed(run()) == []
    assert chain.read("data/join.json") == before


@pytest.mark.parametrize(
    ("override", "stages", "reason"),
    [
        ("labels.horizon=12", ALL, "params labels.horizon 24 -> 12"),
        ("splits.test=100", ["join"], "params splits.test 2190 -> 100"),
        ("costs.taker=0.001", [], ""),
        ("data.symbols=[BTCUSDT]", ["join"], "paths each, input data/clean/ETHUSDT.txt"),
    ],
)
def test_a_parameter_runs_the_stages_that_declare_its_section(chain, override, stages, reason):
    run()
    assert not stages or any(reason in text for _, text in reasons(override).values())
    assert executed(run(override)) == stages


def test_an_edited_package_file_runs_the_stages_that_import_it(chain, tmp_path, monkeypatch):
    package = tmp_path / "site" / "quantalpha"
    shutil.copytree(os.path.dirname(quantalpha.__file__), package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", package)
    run()
    (package / "timeframe.py").write_text((package / "timeframe.py").read_text() + "\n# edited\n")
    assert reasons()["join"] == ("stale", "package quantalpha/timeframe.py")
    assert executed(run()) == ["join"]
    (package / "schema.py").write_text("# nobody here imports it\n")
    assert executed(run()) == []


def test_an_edit_while_a_stage_runs_makes_its_result_stale(chain):
    touch = "(Path(raw).parent / 'ETHUSDT.txt').write_text('c') if symbol == 'ETHUSDT' else None"
    chain.notebook("prepare", *PREPARE, touch)
    run()
    assert reasons()["prepare-ETHUSDT"] == ("stale", "input data/raw/ETHUSDT.txt, changed while it ran: ETHUSDT.txt")
    assert "prepare-ETHUSDT" in executed(run())


def test_only_runs_the_named_stage_and_what_it_needs(chain):
    assert executed(run(only="prepare-BTCUSDT")) == ["prepare-BTCUSDT"]
    assert executed(run(only=["join"])) == ["join", "prepare-ETHUSDT"]
    assert executed(run(only="join", force=True)) == ["join"]
    assert executed(run(force=True)) == ALL


def test_a_stage_with_a_clock_follows_the_bars_only_while_the_data_has_no_end(chain, monkeypatch):
    stage = {"notebook": "prepare", "foreach": "symbol", "params": ["labels"], "clock": True}
    paths = {"inputs": {"raw": "data/raw/{symbol}.txt"}, "outputs": {"clean": "data/clean/{symbol}.txt"}}
    chain.pipeline("chain", prepare=stage | paths)
    now = 1_700_000_000.0
    monkeypatch.setattr("quantalpha.pipeline.cache.time.time", lambda: now)
    run()
    now += 1700
    assert executed(run()) == []
    now += 1900
    assert "clock last bar closed at" in reasons()["prepare-BTCUSDT"][1]
    run("data.end=2024-01-01")
    assert executed(run("data.end=2024-01-01")) == []
    now += 3600
    assert executed(run("data.end=2024-01-01")) == ["prepare-BTCUSDT", "prepare-ETHUSDT"]  # an end still to come is no end
    now += 99_999_999
    run("data.end=2024-01-01")
    now += 999_999
    assert executed(run("data.end=2024-01-01")) == []


@pytest.mark.parametrize("ask", [run, reasons])
def test_status_refuses_what_run_refuses(chain, ask):
    table = yaml.safe_load(chain.read("pipelines/chain.yaml"))
    table["stages"]["join"]["params"].append("features")
    chain.write("pipelines/chain.yaml", yaml.safe_dump(table))
    with pytest.raises(UsageError, match=r"features.*'rsii'.*did you mean 'rsi'"):
        ask("features.rsii=[14]")
    (chain.root / "data/raw/BTCUSDT.txt").unlink()
    with pytest.raises(UsageError, match="input data/raw/BTCUSDT.txt does not exist and no stage writes it"):
        ask()


def test_everything_is_checked_before_anything_runs(chain):
    chain.notebook("join", JOIN[0].replace("each", "eahc"), *JOIN[1:])
    with pytest.raises(UsageError, match="no 'each', which stage join passes; did you mean 'eahc'"):
        run()
    chain.notebook("join", *JOIN)
    (chain.root / "data/raw/BTCUSDT.txt").unlink()
    with pytest.raises(UsageError, match="stage prepare-BTCUSDT: input data/raw/BTCUSDT.txt does not exist and no stage writes it"):
        run()
    with pytest.raises(UsageError, match="labels.horzon"):
        run("labels.horzon=3")
    assert not (chain.root / "data/clean").exists()


def test_a_failure_blocks_what_needs_it_keeps_the_rest_and_the_next_run_resumes(chain):
    chain.write("data/raw/BTCUSDT.txt", "")
    guard = "from quantalpha.errors import DataError\nif not Path(raw).read_text():\n    raise DataError('no bars: expected some')"
    chain.notebook("prepare", PREPARE[0], guard, PREPARE[1])
    with pytest.raises(StageFailed) as caught:
        run()
    kept = "data/pipeline/chain/failed/prepare-BTCUSDT.ipynb"
    assert str(caught.value) == f"stage prepare-BTCUSDT, code cell 2: DataError: no bars: expected some; the notebook as it stopped: {kept}"
    assert caught.value.exit_code == errors.DataError.exit_code
    assert (chain.root / kept).is_file()
    assert {key: status for key, (status, _) in reasons().items()} == {
        "prepare-BTCUSDT": "failed",
        "prepare-ETHUSDT": "fresh",
        "join": "never run",
    }
    chain.write("data/raw/BTCUSDT.txt", "a")
    assert executed(run()) == ["join", "prepare-BTCUSDT"]
    assert not (chain.root / kept).exists()


def test_a_failure_leaves_the_last_good_result(chain):
    run()
    before = chain.read("data/join.json")
    chain.notebook("join", *JOIN, "1 / 0")
    with pytest.raises(StageFailed, match="stage join, code cell 4: ZeroDivisionError: division by zero"):
        run()
    assert chain.read("data/join.json") == before
    chain.notebook("join", *JOIN)
    assert executed(run()) == []
    assert reasons()["join"] == ("fresh", "")


def test_an_output_left_unwritten_is_a_failure(chain):
    chain.notebook("join", *JOIN, "Path(metrics).unlink()")
    with pytest.raises(StageFailed, match="MissingOutput: all cells ran, but output 'metrics' was not written"):
        run()


def test_a_second_driver_is_refused(chain):
    for holder in ("chain", "other"):
        with Folder(chain.root, holder).lock(), pytest.raises(UsageError, match=rf"pipeline chain: another run .* \(pipeline {holder}\)"):
            run()
    assert executed(run()) == ALL


def test_what_another_pipeline_runs_is_not_shown_as_running_here(chain):
    (chain.root / "data/pipeline/chain/scratch/join/x").mkdir(parents=True)  # left by a killed driver
    for holder, status in (("chain", "running"), ("other", "never run")):
        with Folder(chain.root, holder).lock():
            assert reasons()["join"] == (status, "")
    assert reasons()["join"] == ("never run", "")


def test_an_edited_module_of_the_workspace_runs_the_stages_that_import_it(chain, monkeypatch):
    monkeypatch.syspath_prepend(chain.root)
    chain.write("qa_own_desk.py", "import qa_own_level")
    chain.write("qa_own_level.py", "LEVEL = 1")
    chain.notebook("join", *JOIN, "import qa_own_desk")
    run()
    chain.write("qa_own_level.py", "LEVEL = 22")
    assert reasons()["join"] == ("stale", "module qa_own_level.py")
    assert executed(run()) == ["join"]


@pytest.mark.parametrize("text", ["", '{"key": "ab', "[1]", '{"key": 1}', "\x00"])
@pytest.mark.parametrize("name", ["state/join.json", "failed/join.json", "tracked.json", "hashes.json"])
def test_a_damaged_record_counts_as_none(chain, no_tracking, name, text):
    run()
    chain.write(f"data/pipeline/chain/{name}", text)
    redone = ["join"] if name == "state/join.json" else []
    assert reasons()["join"] == ("never run" if redone else "fresh", "")
    assert executed(run()) == redone
    assert len(no_tracking) == 1 + (name in ("state/join.json", "tracked.json"))
    assert run().run_id == f"run{len(no_tracking)}"


def test_an_output_that_cannot_be_put_in_place_is_a_failure_of_its_stage(chain):
    chain.write("data/clean", "a file where a folder must be")
    with pytest.raises(
        StageFailed, match="stage prepare-BTCUSDT: FileExistsError: its outputs cannot be put in place: .*data/clean"
    ) as caught:
        run(only="prepare-BTCUSDT")
    assert "\n" not in str(caught.value)
    assert reasons()["prepare-BTCUSDT"][0] == "failed"
    (chain.root / "data/clean").unlink()
    assert executed(run()) == ALL


def test_nothing_is_tracked_when_nothing_ran_and_what_was_left_untracked_is_logged_later(chain, no_tracking, monkeypatch):
    assert run().run_id == "run1"
    assert run().run_id == "run1"
    assert [[stage.status for stage in logged.stages] for logged in no_tracking] == [["done"] * 3]
    edit_input_without_effect(chain)
    with monkeypatch.context() as patched:

        def broken(_):
            raise errors.QuantalphaError("MLflow: disk full")

        patched.setattr(tracking, "log_run", broken)
        report = run()
    assert (report.run_id, report.tracking_error, report.exit_code) == (None, "MLflow: disk full", 1)
    later = run()
    assert executed(later) == []
    assert (later.run_id, later.exit_code) == ("run2", 0)
    logged = {stage.id: stage for stage in no_tracking[1].stages}
    assert logged["join"].status == "fresh"
    assert logged["join"].params == {"splits.scheme": "sliding", "splits.train": 13140, "splits.test": 2190, "splits.embargo": 24}
    assert set(logged["join"].inputs) == {"data/clean/BTCUSDT.txt", "data/clean/ETHUSDT.txt"}
    assert logged["join"].files["metrics"] == chain.root / "data/join.json"


def test_a_run_of_some_stages_is_not_reported_for_all_of_them(chain, no_tracking):
    assert run().run_id == "run1"
    assert run(only="prepare-BTCUSDT", force=True).run_id == "run2"
    assert run(only="prepare-BTCUSDT").run_id == "run2"
    assert [run().run_id, run().run_id, run(only="join").run_id] == ["run3"] * 3
    assert [stage.status for stage in no_tracking[2].stages] == ["fresh"] * 3


def test_results_are_logged_again_where_the_store_lost_them(chain, no_tracking):
    assert run().run_id == "run1"
    no_tracking.clear()
    again = run()
    assert (executed(again), again.run_id, len(no_tracking)) == ([], "run1", 1)


def test_progress_is_plain_lines_on_stderr_away_from_a_terminal(chain, capsys):
    pipeline.run("chain")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[:2] for line in err.splitlines()][2] == ["[3/3]", "join"]
    pipeline.run("chain")
    assert capsys.readouterr().err == ""


def test_no_secret_reaches_record_or_error(chain, monkeypatch):
    monkeypatch.setenv("EXCHANGE_API_SECRET", "hunter2hunter2")
    chain.pipeline(
        "chain",
        join={
            "notebook": "prepare",
            "foreach": "symbol",
            "params": ["labels", "venue"],
            "inputs": {"raw": "data/raw/{symbol}.txt"},
            "outputs": {"clean": "data/clean/{symbol}.txt"},
        },
    )
    run("venue.name=at-hunter2hunter2")
    record = chain.read("data/pipeline/chain/state/join-BTCUSDT.json")
    assert "at-***" in record
    assert "hunter2" not in record

"""The command line itself: what it lists, how it ends, what it never says. What each command does is tested with its package."""

import re
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest
import typer
from workspace import Workspace, free_port, words

from quantalpha import cli, errors

SECRET = "hunter2-4b8e61"
COMMANDS = [
    "pipeline",
    "import",
    "exchange",
    "ui",
    "promote",
    "rollback",
    "keys",
    "holdout",
    "data",
    "run",
    "prelive",
    "reconcile",
    "reproduce",
    "demo",
    "kill",
    "reset",
    "accounts",
    "watchdog",
    "approve",
    "doctor",
    "report",
]
STEPS = ["run", "status", "schedule"]
OPENINGS = ["open", "status"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("cli"))


def plain(text: str) -> str:
    """Without colours and frames."""
    return re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", text)


def test_help_lists_every_command(workspace):
    answer = workspace.call("--help")
    assert answer.code == 0
    assert all(re.search(rf"^ *{name} ", plain(answer.out), re.MULTILINE) for name in COMMANDS), answer.out
    steps = plain(workspace.call("pipeline", "--help").out)
    assert all(re.search(rf"^ *{name} ", steps, re.MULTILINE) for name in STEPS), steps
    group = typer.main.get_command(cli.app)
    assert sorted(group.commands) == sorted(COMMANDS) and sorted(group.commands["pipeline"].commands) == sorted(STEPS)
    assert sorted(group.commands["holdout"].commands) == sorted(OPENINGS)


DATA = sorted(typer.main.get_command(cli.app).commands["data"].commands)
NESTED = [f"{group} {name}" for group, names in {"pipeline": STEPS, "holdout": OPENINGS, "data": DATA}.items() for name in names]


@pytest.mark.parametrize("command", [*COMMANDS, *NESTED])
def test_every_command_explains_itself_and_each_of_its_options(workspace, command):
    answer = workspace.call(*command.split(), "--help")
    assert answer.code == 0 and answer.err == ""
    group = typer.main.get_command(cli.app)
    for name in command.split():
        group = group.commands[name]
    assert group.help and all(getattr(each, "help", None) for each in group.params), command


def test_without_a_command_help_is_shown_and_an_unknown_one_is_refused(workspace):
    assert "Usage" in workspace.call().out + workspace.call().err
    answer = workspace.call("promot")
    assert answer.code == 2 and "promot" in answer.err and "Traceback" not in answer.err


def test_as_a_module_and_as_a_script_it_is_the_same_program(workspace):
    answer = workspace.run("pipeline", "status", "--json")
    assert answer.code == 0 and {row["status"] for row in answer.json} == {"never run"}
    (script,) = (each for each in entry_points(group="console_scripts") if each.name == "quantalpha")
    assert script.value == "quantalpha.cli:main" and script.load() is cli.main
    assert workspace.run("reconcile", "tuesday").code == 2


def documented() -> dict[int, str]:
    """Exit code -> meaning, as the head of the command line lists them."""
    listing = " · ".join(line for line in cli.__doc__.splitlines() if re.match(r"\d", line))
    return {int(code): meaning for code, meaning in (entry.split(" ", 1) for entry in listing.split(" · "))}


def test_the_documented_exit_codes_are_those_of_the_errors():
    kinds = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.QuantalphaError)}
    assert set(documented()) == kinds | {0, 130}
    meant = {errors.UsageError: "usage", errors.GateRefused: "refused", errors.DataError: "bad data", errors.ExchangeError: "unreachable",
             errors.ReconcileError: "does not reconcile", errors.Halted: "halted", errors.StageFailed: "failed stage"}  # fmt: skip
    assert all(word in documented()[kind.exit_code] for kind, word in meant.items())


def test_an_interrupted_command_exits_130(workspace, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("quantalpha.demo.run", interrupted)
    answer = workspace.call("demo")
    assert answer.code == 130 and "interrupted: nothing is left half-written" in answer.err


def test_a_command_that_is_interrupted_while_it_loads_exits_130():
    code = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from quantalpha.cli import main
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    "command, advice",
    [
        ("prelive --capital 100", "`quantalpha promote latest --to live`"),
        ("run", "`quantalpha promote latest`"),
        ("run --profile demo", "`quantalpha promote latest --profile demo`"),
    ],
)
def test_who_has_no_bundle_is_told_how_to_promote_one(workspace, command, advice):
    workspace.call(*command.split()).complains(2, advice)


@pytest.mark.parametrize("setting", ["risk.per_trade=-1", "risk.per_trde=1", "data.start=2030-01-01 --set data.end=2029-01-01"])
def test_a_fault_of_an_option_is_not_laid_on_the_file(workspace, setting):
    workspace.call("run", "--set", *setting.split(" ")).complains(2, "error: --set: ")


@pytest.mark.parametrize("command", ["run --mode paper", "promote latest"])
def test_what_a_bundle_seals_cannot_be_set_when_it_trades(workspace, command):
    answer = workspace.call(*command.split(), "--set", "policy.enter=0.9")
    answer.complains(2, "--set policy.enter", "sealed with the model")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("promote nowhere", 2),
        ("run --mode live", 2),
        ("reconcile", 2),
        ("pipeline run --set labels.horizn=1", 2),
        ("pipeline status nothing", 2),
    ],
)
def test_an_error_as_json_is_one_document(workspace, command, code):
    answer = workspace.call(*command.split(), "--json")
    answer.complains(code)
    assert answer.json["exit_code"] == code and answer.json["error"] == "UsageError"
    assert answer.err == f"error: {answer.json['message']}\n"


def test_a_verdict_as_json_is_one_document_too(workspace, monkeypatch):
    lines = [{"name": "net_result", "passed": False, "reason": "not above 0"}]

    class Report:
        def to_dict(self):
            return {"candidate": "BTCUSDT-lightgbm", "passed": False, "lines": lines}

        def refuse(self):
            raise errors.GateRefused("BTCUSDT-lightgbm: refused by 1 of 1 gate lines: net_result: not above 0")

        def __str__(self):
            return "NO  net_result"

    refused = SimpleNamespace(
        run=SimpleNamespace(run_id="r1", name="walk_forward-BTCUSDT-lightgbm"), report=Report(), bundle=None, version=None
    )
    monkeypatch.setattr("quantalpha.promotion.candidates", lambda wanted: [None])
    monkeypatch.setattr("quantalpha.promotion.promote_run", lambda *_: refused)
    answer = workspace.call("promote", "latest", "--json")
    answer.complains(3, "refused by 1 of 1")
    assert answer.json["exit_code"] == 3 and answer.json["lines"] == lines and answer.json["run_id"] == "r1"
    answer = workspace.call("promote", "latest")
    assert answer.code == 3 and "NO  net_result" in answer.out and "refused by 1 of 1" in answer.err


def test_secrets_are_masked_in_whatever_is_said(tmp_path, monkeypatch):
    other = Workspace(tmp_path)
    (tmp_path / ".env").write_text(f"EXCHANGE_API_KEY={SECRET}\n")
    monkeypatch.setenv("QA_TEST_SECRET", "from-the-shell-77")
    for word in (SECRET, "from-the-shell-77"):
        answer = other.call("reconcile", f"monday-{word}", "--json")
        answer.complains(2, "session")
        assert word not in answer.out + answer.err
        answer = other.call("promote", f"run-{word}", "--json")
        answer.complains(2, "'run-***'")
        assert word not in answer.out + answer.err and "***" in answer.json["message"]
    answer = other.call("pipeline", "run", "--set", f"labels.horizon={SECRET}")
    answer.complains(2, "labels.horizon", "'***'")
    answer = other.call(
        "pipeline", "run", "--set", "venue.rest_url=http://me:password1@127.0.0.1:1", "--set", "venue.ws_url=ws://127.0.0.1:1"
    )
    answer.complains(2, "venue.rest_url", "no path, user or password")
    assert "password1" not in answer.err
    assert SECRET.encode() not in (tmp_path / "mlruns/mlflow.db").read_bytes()


def test_the_exchange_says_where_it_is_and_ends_on_request(workspace):
    port = free_port()
    settings = words({"synthetic.bars": 1000, "exchange.now": "2021-01-20"})
    command = [sys.executable, "-m", "quantalpha", "exchange", "--port", str(port), *settings]
    process = subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[0].startswith("practice exchange: BTCUSDT, ETHUSDT") and lines[2].split() == ["REST", f"http://127.0.0.1:{port}"]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and said == ""


def test_bars_of_the_user_go_in_and_are_told(workspace, tmp_path):
    csv = tmp_path / "bars.csv"
    rows = [f"2024-01-01T0{hour}:00:00Z,100,101,99,100,5" for hour in range(9)]
    csv.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    command = ("import", str(csv), "--symbol", "TESTUSDT", "--timeframe", "1h")
    answer = workspace.call(*command, "--json")
    assert answer.code == 0 and (answer.json[0]["rows"], answer.json[0]["months_written"]) == (9, 1)
    shown = workspace.call(*command)
    assert shown.code == 0 and "imported" in shown.out and "rows" in shown.out
    assert workspace.call(*command, "--json").json[0]["months_written"] == 0, "the same file twice changes nothing"


@pytest.mark.parametrize(
    ("words", "moment"), [(["--tape", "mine.parquet"], None), (["--now", "2021-02-01"], "2021-02-01"), ([], "2024-01-15")]
)
def test_a_tape_of_ones_own_does_not_start_at_the_demos_moment(workspace, monkeypatch, words, moment):
    given = []
    monkeypatch.setattr("quantalpha.practice.run", lambda params, parent: given.append(params.exchange.now))
    assert workspace.call("exchange", *words).code == 0
    assert [now and f"{now:%Y-%m-%d}" for now in given] == [moment]

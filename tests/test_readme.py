"""The README stays true: its commands exist, its tree exists, and its numbers come out of the code."""

import inspect
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import click
import pandas as pd
import pytest
import typer
import yaml

from quantalpha import cli, config, labels
from quantalpha.backtest.walk_forward import walk_forward_forecasts
from quantalpha.features import FAMILIES, build, registry
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.models import fitter
from quantalpha.promotion import Trained, backtest_candidate, origin

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.S)
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)
LINES = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("quantalpha ")])
def test_every_command_is_understood(line):
    """Parsed by the real command line, up to the point where it would run; every --set is a valid parameter."""
    words = shlex.split(line)[1:]
    command, context = typer.main.get_command(cli.app), None
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context)
        command = command.get_command(context, words.pop(0))
        assert command is not None, line
    parsed = command.make_context(command.name, words, parent=context, resilient_parsing=False)
    settings = parsed.params.get("overrides") or ()
    config.load(parsed.params.get("profile") or "default", settings)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_every_make_target_exists(line):
    assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the example that holds these words, as written, on a synthetic tape where it reads the cleaned bars; what it leaves behind."""
    (tmp_path / "data/clean").mkdir(parents=True)
    synthetic_bars("BTCUSDT", config.load("demo").synthetic).to_parquet(tmp_path / "data/clean/BTCUSDT.parquet")
    monkeypatch.chdir(tmp_path)

    def example(words: str) -> dict:
        (code,) = (code for code in EXAMPLES if words in code)
        names: dict = {}
        exec(compile(code, "README.md", "exec"), names)
        return names

    return example


def test_a_backtest_by_hand(run, tmp_path):
    left = run("tearsheet")
    assert len(left["result"].trades) > 10 and (tmp_path / "trend.html").stat().st_size > 100_000


def test_a_function_is_proved_causal(run, capsys):
    left = run("check_causal")
    assert not left["leaks"].clean and left["sound"].clean and not left["short"].clean
    printed = " ".join(capsys.readouterr().out.split())
    for _, told in re.findall(r"print\((.*)\)  # (.*)", "\n".join(EXAMPLES)):
        assert all(part in printed for part in told.split(" ... ")), told


def test_the_features_are_all_there_with_their_parameters():
    section = re.search(r"### Features\n(.*?)### ", README, re.S)[1]
    told = {family: named.split(", ") for family, named in re.findall(r"`(\w+)\[([\w, ]+)\]`", section)}
    assert told == {family: list(inspect.signature(factory).parameters) for family, factory in FAMILIES.items()}
    (spec,) = (yaml.safe_load(block)["features"] for block in re.findall(r"```yaml\n(features:.*?)```", section, re.S))
    asked = config.load(overrides=[f"features={json.dumps(spec)}"]).features
    registry.check({family: asked[family] for family in spec}, "1h")


def test_the_tree_exists():
    tree = re.search(r"## The house\n\n```text\n(.*?)```", README, re.S)[1]
    for line in tree.splitlines():
        indent = "quantalpha/" if line.startswith("  ") else ""
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            assert (ROOT / indent / name).exists(), f"{indent}{name}"


def test_links_and_exit_codes_hold():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    told = re.search(r"Exit codes: (.*?)\.", README, re.S)[1]
    documented = cli.__doc__.split("\n\n")[1]
    for code, words in re.findall(r"(\d) ([a-z ]+)", told):
        assert f"{code} {words.strip().split()[0]}" in documented


def test_no_shields_and_the_licence_clause_is_named():
    assert "img.shields" not in README and "badge" not in README
    assert "Commons Clause" in README


@pytest.fixture(scope="module")
def told() -> str:
    return re.search(r"<!-- demo: begin -->(.*?)<!-- demo: end -->", README, re.S)[1]


@pytest.mark.parametrize("label", ["champion", "refused"])
def test_the_demo_numbers_come_out_of_the_code(told, label):
    """The pipeline's own functions in one process, on the demo's tape and parameters."""
    line = re.search(rf"^{label} +(\w+)-(\w+): (.*)$", told, re.M)
    symbol, model, numbers = line[1], line[2], line[3]
    params = config.load("demo")
    bars = synthetic_bars(symbol, params.synthetic).loc[: pd.Timestamp(params.data.end) - pd.Timedelta("1ms")]
    inputs, outcome = build(params.features, params.data.timeframe).compute(bars), labels.label(bars, params.labels)
    walk = walk_forward_forecasts(inputs, outcome, params.splits, fitter(model, params.models))
    named = origin(symbol, params, params.features, {}, bars.index[-1])
    result, table = backtest_candidate(Trained(named, SimpleNamespace(kind=model), walk), bars, params.gate.random_seeds)
    metrics = result.metrics()
    sharpe = float(re.search(r"Sharpe (-?[\d.]+)", numbers)[1])
    assert metrics["sharpe_ratio"] == pytest.approx(sharpe, abs=0.05)
    beaten = (metrics["sharpe_ratio"] > table["sharpe_ratio"]).all() and metrics["total_return"] > 0
    assert beaten == (label == "champion")

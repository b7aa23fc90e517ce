"""The stage table: what it expands to, in which order, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.pipeline import graph


@pytest.fixture
def load(workspace):
    """Writes a table and loads its stages."""
    workspace.notebook("n", "")

    def load(**stages):
        workspace.pipeline("p", **stages)
        return graph.load("p", config.load(), workspace.root)

    return load


def stage(**given) -> dict:
    return {"notebook": "n", "outputs": {"out": "data/out.txt"}} | given


def test_foreach_makes_one_stage_for_each_value(load):
    stages = load(train=stage(foreach=["symbol", "model"], outputs={"out": "data/{model}/{symbol}.txt"}))
    assert sorted(s.id for s in stages) == [f"train-{s}-{m}" for s in ("BTCUSDT", "ETHUSDT") for m in ("lightgbm", "xgboost")]
    first = next(s for s in stages if s.id == "train-BTCUSDT-xgboost")
    assert first.loop == {"symbol": "BTCUSDT", "model": "xgboost"}
    assert first.outputs == {"out": "data/xgboost/BTCUSDT.txt"}


def test_an_input_with_an_open_placeholder_is_the_list_of_all_its_values(load):
    stages = load(
        train=stage(foreach=["symbol", "model"], outputs={"out": "data/{symbol}_{model}.txt"}),
        compare=stage(foreach="symbol", inputs={"each": "data/{symbol}_{model}.txt"}, outputs={"out": "data/{symbol}.csv"}),
    )
    compare = next(s for s in stages if s.id == "compare-ETHUSDT")
    assert compare.inputs["each"] == ["data/ETHUSDT_lightgbm.txt", "data/ETHUSDT_xgboost.txt"]
    assert compare.needs == ("train-ETHUSDT-lightgbm", "train-ETHUSDT-xgboost")


def test_leaders_and_onchain_tables_are_lists_however_few(load, monkeypatch):
    table = {
        "raw": stage(foreach="symbol", outputs={"out": "data/{symbol}.json"}),
        "clean": stage(
            foreach="symbol",
            inputs={"own": "data/{symbol}.json", "leaders": "data/{leader}.json", "daily": "data/chain/{onchain}.txt"},
            outputs={"out": "data/{symbol}.txt"},
        ),
    }
    none = next(s for s in load(**table) if s.id == "clean-ETHUSDT")
    assert none.inputs == {"own": "data/ETHUSDT.json", "leaders": [], "daily": []} and none.needs == ("raw-ETHUSDT",)
    told = config.load(overrides=["context.leaders=[BTCUSDT]", "context.onchain=[BTC]"])
    monkeypatch.setattr(config, "load", lambda: told)
    some = {s.id: s for s in load(**table)}
    assert some["clean-ETHUSDT"].inputs["leaders"] == ["data/BTCUSDT.json"]
    assert some["clean-ETHUSDT"].inputs["daily"] == ["data/chain/BTC.txt"]
    assert some["clean-ETHUSDT"].needs == ("raw-ETHUSDT", "raw-BTCUSDT") and some["clean-BTCUSDT"].needs == ("raw-BTCUSDT",)


def test_a_file_in_a_written_folder_and_a_folder_of_written_files_are_dependencies(load):
    stages = load(
        last=stage(inputs={"all": "data/models/"}, outputs={"out": "data/last.txt"}),
        middle=stage(inputs={"one": "data/models/a/model.txt"}, outputs={"out": "data/middle.txt"}),
        first=stage(outputs={"model": "data/models/a/"}),
    )
    assert [s.needs for s in stages if s.name != "first"] == [("first",), ("first",)]
    assert stages[0].name == "first"


@given(st.permutations(range(6)))
def test_each_stage_comes_after_those_it_needs_in_whatever_order_they_are_written(order):
    entries = [graph.Stage(f"s{i}", f"s{i}", "n", {}, (), {"i": f"p{i - 1}"} if i else {}, {"o": f"p{i}"}, False) for i in range(6)]
    ordered = graph._ordered(graph._linked([entries[i] for i in order], "p"), "p")
    assert [s.id for s in ordered] == [f"s{i}" for i in range(6)]


def test_select_takes_what_is_named_and_what_it_needs(load):
    stages = load(
        a=stage(foreach="symbol", outputs={"out": "data/a_{symbol}"}),
        b=stage(foreach="symbol", inputs={"i": "data/a_{symbol}"}, outputs={"out": "data/b_{symbol}"}),
        c=stage(outputs={"out": "data/c"}),
    )
    assert {s.id for s in graph.select(stages, ["b-BTCUSDT"])} == {"a-BTCUSDT", "b-BTCUSDT"}
    assert len(graph.select(stages, None)) == 5
    with pytest.raises(UsageError, match="stage 'bb': unknown; did you mean 'b'"):
        graph.select(stages, ["bb"])


def test_more_sections_are_declared_while_a_parameter_asks_for_them(load, monkeypatch):
    entry = stage(params=["search", "labels"], when={"search.trials": ["policy", "labels"]})
    assert load(s=entry)[0].sections == ("search", "labels")
    searching = config.load(overrides=["search.trials=5"])
    monkeypatch.setattr(config, "load", lambda: searching)
    assert load(s=entry)[0].sections == ("search", "labels", "policy")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (stage(notbook="n"), "stage s: unknown key 'notbook'; did you mean 'notebook'"),
        (stage(notebook="m"), "no notebooks/m.ipynb; did you mean 'n'|no notebooks/m.ipynb; known: n"),
        (stage(params=["lables"]), "params: unknown section 'lables'; did you mean 'labels'"),
        (stage(foreach="symbols"), "foreach: unknown variable 'symbols'; did you mean 'symbol'"),
        (stage(outputs={"out": "data/{symbl}.txt"}, foreach="symbol"), "unknown placeholder {symbl}.*did you mean 'symbol'"),
        (stage(outputs={"out": "data/{symbol}.txt"}), "unknown placeholder {symbol}.*no foreach"),
        (stage(inputs={"each": "data/{simbol}.txt"}), "unknown placeholder {simbol}.*did you mean 'symbol'"),
        (stage(foreach="symbol"), "stages s-BTCUSDT and s-ETHUSDT both write data/out.txt"),
        (stage(outputs={"a": "data/x/", "b": "data/x/y.txt"}), "both write data/x/y.txt"),
        (stage(outputs={"out": "../out.txt"}), "inside the workspace, found '../out.txt'"),
        (stage(outputs={"out": "/tmp/out.txt"}), "inside the workspace, found '/tmp/out.txt'"),
        (stage(outputs={"out": "data/{"}), "output out: .*expected '}'|output out: .*Single '{'"),
        (stage(outputs={"out": 5}), "output out: expected a path, found 5"),
        (stage(outputs={}), "outputs: expected a mapping"),
        (stage(inputs={"out": "data/in.txt"}), "'out' must be one Python name, used once"),
        (stage(inputs={"params": "data/in.txt"}), "'params' must be one Python name"),
        (stage(inputs={"in-put": "data/in.txt"}), "'in-put' must be one Python name"),
        (stage(inputs={"i": "data/out.txt"}), "stages wait for each other: s -> s"),
        (stage(inputs=["data/in.txt"]), "inputs: expected a mapping"),
        (stage(params={"labels": 1}), "params: expected a name or a list of different names"),
        (stage(foreach=["symbol", "symbol"]), "foreach: expected a name or a list of different names"),
        (stage(clock="yes"), "clock: expected true or false"),
        (stage(when=["search"]), "when: expected a mapping of section.key to lists of sections"),
        (stage(when={"search.trials": "policy"}), "when: expected section.key of a section in its params, found 'search.trials'"),
        (stage(params="search", when={"search.trails": "policy"}), "when: expected section.key .* found 'search.trails'"),
        (stage(params="lables", when={"lables.x": "policy"}), "when: expected section.key"),
        ("n", "expected a mapping with notebook"),
    ],
)
def test_a_faulty_entry_is_refused_in_one_line(load, entry, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(s=entry)
    assert "\n" not in str(caught.value)
    assert "pipelines/p.yaml" in str(caught.value)


def test_a_circle_of_stages_is_named(load):
    with pytest.raises(UsageError, match="stages wait for each other: .*a.*b"):
        load(a=stage(inputs={"i": "data/b"}, outputs={"o": "data/a"}), b=stage(inputs={"i": "data/a"}, outputs={"o": "data/b"}))


def test_an_unknown_pipeline_and_a_file_that_is_no_table_are_refused(load, workspace):
    load(s=stage())
    with pytest.raises(UsageError, match="pipeline 'pp': no pipelines/pp.yaml; did you mean 'p'"):
        graph.load("pp", config.load(), workspace.root)
    for text, message in (("stages: [", "cannot be read"), ("stage: {}", "one top-level key `stages`"), ("[]", "one top-level key")):
        workspace.write("pipelines/p.yaml", text)
        with pytest.raises(UsageError, match=message):
            graph.load("p", config.load(), workspace.root)

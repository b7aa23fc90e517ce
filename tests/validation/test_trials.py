"""The ledger of tries: what counts as one, and that none is lost, doubled or taken out."""

import linecache
import multiprocessing
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.strategy import buy_and_hold, ma_cross
from quantalpha.strategy.panel import panel
from quantalpha.strategy.trend import trend
from quantalpha.validation.trials import SCHEMA, Trials, Try, code_hash, data_hash, name_of


@pytest.fixture
def trials(tmp_path):
    return Trials(tmp_path / "new" / "trials.db")


def a_try(number=0, **other):
    return Try(**{"data": "d", "strategy": "s", "params": {"n": number}, "code": "c", "scores": {"sharpe_ratio": 0.5}} | other)


def hours(n=5):
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp")
    return pd.DataFrame({"open": np.arange(n) + 1.0, "close": np.arange(n) + 2.0}, index=index)


def test_a_try_counts_once_however_often_it_is_made(trials):
    assert trials.count() == 0
    assert trials.record(a_try()) == 1
    again = a_try(params={"n": np.int64(0)}, scores={"sharpe_ratio": 9.0}, study="another", context={"fold": 3})
    assert trials.record([again, a_try(), a_try(1), a_try(1)]) == 1
    assert trials.count() == 2
    assert trials.frame()["sharpe_ratio"].tolist() == [0.5, 0.5]  # what was written first stays


@pytest.mark.parametrize("name", ["data", "strategy", "code", "terms"])
def test_other_data_strategy_code_terms_or_params_make_another_try(trials, name):
    assert trials.record([a_try(), a_try(**{name: "other"}), a_try(1), a_try(params={"n": 0.5}), a_try(params={"m": 0})]) == 5
    assert trials.count(**{name: "other"}) == 1


def test_the_order_of_parameters_does_not_matter():
    assert a_try(params={"a": 1, "b": 2}).key == a_try(params={"b": 2, "a": 1}).key


def test_frame_gives_back_what_was_recorded(trials):
    before = pd.Timestamp.now("UTC").floor("ms")
    trials.record(a_try(0, scores={"sharpe_ratio": 0.5, "bars": 10}, study="one", context={"fold": 1}))
    trials.record(
        a_try(1, scores={"sharpe_ratio": float("nan"), "calmar_ratio": np.inf}, params={"n": np.float64(0.1), "kind": "x", "list": [1, 2]})
    )
    table = trials.frame()
    assert table["study"].tolist() == ["one", ""] and table["context"].tolist() == [{"fold": 1}, {}]
    assert table["params"].tolist() == [{"n": 0}, {"n": 0.1, "kind": "x", "list": [1, 2]}]
    assert table["sharpe_ratio"].iloc[0] == 0.5 and table["bars"].iloc[0] == 10.0
    assert table.loc[1, ["sharpe_ratio", "calmar_ratio", "bars"]].isna().all()  # undefined, and never infinite
    assert (table["time"] >= before).all() and table["time"].is_monotonic_increasing
    assert trials.frame(study="one")["key"].tolist() == [a_try(0).key]
    assert trials.frame(study="none").empty and trials.frame(study="none").columns[0] == "key"


def test_an_unknown_column_is_refused(trials):
    with pytest.raises(UsageError, match="not chosen by 'strateg'; did you mean 'strategy'"):
        trials.count(strateg="s")
    with pytest.raises(UsageError, match="not chosen by 'params'"):
        trials.frame(params="{}")


def test_nothing_is_changed_or_taken_out(trials):
    trials.record(a_try())
    with sqlite3.connect(trials.path) as connection:
        for command in ("UPDATE tries SET scores = '{}'", "DELETE FROM tries"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(command)
    connection.close()
    assert trials.count() == 1


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path):
    text, other, newer = (tmp_path / name for name in ("text.db", "other.db", "newer.db"))
    text.write_text("not a database " * 100)
    for path, command in ((other, "CREATE TABLE t (x)"), (newer, "PRAGMA user_version=99")):
        with sqlite3.connect(path) as connection:
            connection.execute(command)
        connection.close()
    for path, message in ((text, "text.db: the ledger of tries cannot be used"), (other, "found 0"), (newer, "format 2, found 99")):
        content = path.read_bytes()
        with pytest.raises(DataError, match=message):
            Trials(path).record(a_try())
        assert path.read_bytes() == content


def test_a_batch_with_an_impossible_try_leaves_nothing(trials):
    trials.record(a_try())
    with pytest.raises(TypeError):
        trials.record([a_try(1), a_try(2, params={"x": object()})])
    with pytest.raises(DataError, match="NOT NULL"):
        trials.record([a_try(3), a_try(4, study=None)])
    assert trials.count() == 1


def test_a_thousand_tries_take_less_than_a_second(trials):
    many = [a_try(number) for number in range(1000)]
    start = time.perf_counter()
    assert trials.record(many) == 1000
    assert time.perf_counter() - start < 1.0  # 0.03 s on two ordinary cores


def record_some(trials, worker):
    """Even numbers belong to nobody: every worker makes them; odd ones are the worker's own."""
    for number in range(200):
        trials.record(a_try(number, data=str(worker) if number % 2 else "shared"))


def test_four_processes_at_once_lose_and_double_nothing(trials):
    """The file does not exist before, so they race for making it, too."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=record_some, args=(trials, worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert trials.count() == 100 + 4 * 100
    assert [trials.count(data=str(worker)) for worker in range(4)] == [100] * 4 and trials.count(data="shared") == 100


def test_four_threads_share_one_object(trials):
    threads = [threading.Thread(target=record_some, args=(trials, worker)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trials.count() == 500


def test_a_killed_process_loses_its_open_transaction_at_most(trials):
    code = f"""
from quantalpha.validation.trials import Trials, Try
trials = Trials({str(trials.path)!r})
for batch in range(10_000):
    trials.record(Try("d", "s", {{"n": batch * 10 + k}}, "c", {{}}) for k in range(10))
    print(batch + 1, flush=True)
"""
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    told = [int(writer.stdout.readline()) for _ in range(50)][-1]
    writer.send_signal(signal.SIGKILL)
    told = max([told, *(int(line) for line in writer.communicate()[0].split())])
    assert trials.count() in (10 * told, 10 * (told + 1))  # the last batch may have been stored and not yet told
    assert trials.record(a_try(-1)) == 1


def test_data_is_told_apart_by_times_names_values_and_symbols():
    bars = hours()
    seen = [
        data_hash(bars), data_hash(bars.iloc[:-1]), data_hash(bars.shift(freq="h")), data_hash(bars + 1e-12), data_hash(bars.iloc[:, ::-1]),
        data_hash({"A": bars}), data_hash({"B": bars}), data_hash({"A": bars, "B": bars}), data_hash({"B": bars, "A": bars}),
    ]  # fmt: skip
    assert len(set(seen)) == len(seen)
    assert data_hash(bars.copy().set_index(bars.index.as_unit("ns"))) == data_hash(bars)


def test_code_is_told_apart_by_the_files_beside_it_and_by_bound_arguments(tmp_path):
    assert code_hash(ma_cross) == code_hash(ma_cross) != code_hash(buy_and_hold)
    bound = [
        partial(ma_cross, fast=1),
        partial(ma_cross, fast=2),
        partial(ma_cross, 1),
        partial(panel, rule=ma_cross),
        partial(panel, rule=trend),
    ]
    assert len({code_hash(ma_cross), *map(code_hash, bound)}) == 6
    assert code_hash(partial(panel, rule=trend)) == code_hash(partial(panel, rule=trend))
    assert [name_of(one) for one in (ma_cross, bound[0], bound[-1])] == ["ma_cross", "ma_cross", "panel(trend)"]

    (tmp_path / "own_rules.py").write_text("from own_helpers import level\ndef rule(bars, n):\n    return level(n)\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom own_rules import rule\n"
    code += "from quantalpha.validation.trials import code_hash\nprint(code_hash(rule))"
    found = []
    for helper in ("def level(n):\n    return n\n", "def level(n):\n    return n + 1\n"):
        (tmp_path / "own_helpers.py").write_text(helper)
        found.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert found[0] != found[1]


def test_a_notebooks_function_is_told_apart_by_its_own_source(monkeypatch):
    found = []
    for text in ("def rule(bars):\n    return 1\n", "def rule(bars):\n    return 2\n"):
        monkeypatch.setitem(linecache.cache, "<cell 1>", (len(text), None, text.splitlines(keepends=True), "<cell 1>"))
        space = {"__name__": "cells"}
        exec(compile(text, "<cell 1>", "exec"), space)
        found.append(code_hash(space["rule"]))
    assert found[0] != found[1]


def test_code_without_a_source_is_refused():
    space = {}
    exec("def rule(bars): return None", space)
    with pytest.raises(UsageError, match="source of .* cannot be read"):
        code_hash(space["rule"])


def daily(first, n, seed=0):
    index = pd.date_range(first, periods=n, freq="D", tz="UTC")
    return pd.Series(np.random.default_rng(seed).normal(0, 0.01, n), index)


def test_returns_come_back_for_the_tries_that_span_the_days(trials):
    whole, late, gap = (
        daily("2024-01-01", 60),
        daily("2024-02-01", 60, 1),
        daily("2024-01-01", 70, 2).drop(pd.Timestamp("2024-02-10", tz="UTC")),
    )
    made = [a_try(number, returns=returns) for number, returns in enumerate([whole, late, gap])]
    trials.record([*made, a_try(9)])
    days = pd.date_range("2024-02-01", "2024-02-20", tz="UTC")
    found = trials.returns(days)
    assert set(found) == {one.key for one in made} and found.index.equals(days)
    for one in made:
        pd.testing.assert_series_equal(
            found[one.key], one.returns.reindex(days, fill_value=0.0), check_names=False, check_freq=False, check_exact=True
        )
    longer = trials.returns(pd.date_range("2024-01-01", "2024-04-15", tz="UTC"))
    assert longer.notna().sum().to_dict() == {made[0].key: 60, made[1].key: 60, made[2].key: 70}
    assert longer[made[1].key].first_valid_index() == late.index[0] and longer[made[1].key].last_valid_index() == late.index[-1]
    assert trials.returns(days, strategy="other").shape == (20, 0)
    assert trials.record(made) == 0 and trials.returns(days).shape == (20, 3)


def test_returns_may_follow_a_try_and_are_never_changed(trials):
    days = daily("2024-01-01", 3).index
    trials.record(a_try())
    trials.record(a_try(returns=daily("2024-01-01", 3)))
    trials.record(a_try(returns=daily("2024-01-01", 3, seed=5)))
    np.testing.assert_array_equal(trials.returns(days).iloc[:, 0], daily("2024-01-01", 3))
    for wrong in (daily("2024-01-01", 3).iloc[::-1], daily("2024-01-01", 0), daily("2024-01-01 05:00", 3), daily("2024-01-01", 3) * np.nan):
        with pytest.raises(UsageError, match="by UTC day"):
            trials.record(a_try(1, returns=wrong))
    with closing(sqlite3.connect(trials.path)) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM returns")


def test_a_ledger_without_returns_is_extended_and_keeps_its_tries(trials):
    trials.path.parent.mkdir()
    with closing(sqlite3.connect(trials.path)) as connection:
        connection.executescript(f"PRAGMA journal_mode=WAL; BEGIN; {SCHEMA} PRAGMA user_version=1; COMMIT;")
        connection.execute("INSERT INTO tries VALUES ('k', 1, '', 's', 'd', 'c', '', '{}', '{}', '{}')")
        connection.commit()
    trials.record(a_try(returns=daily("2024-01-01", 3)))
    assert trials.count() == 2 and trials.returns(daily("2024-01-01", 3).index).shape == (3, 1)

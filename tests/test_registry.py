"""Where an alias points, where it pointed before, and that a killed or crowded promotion leaves exactly one sound champion."""

import importlib
import json
import os
import shutil
import signal
from dataclasses import astuple
from pathlib import Path

import pytest
import small_bundle
from workspace import Answer, Workspace

from quantalpha import audit, bundle, promotion, runner, tracking
from quantalpha.files import sha256
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.tracking import registry, store

NAME, RUN = "import-BTCUSDT-1h", "0" * 32
SETTINGS = ["--set", "venue.name=import"]
PARAMS = small_bundle.params("venue.name=import", "synthetic.bars=1000", "synthetic.edge={BTCUSDT: 0.05}")
BARS = synthetic_bars("BTCUSDT", PARAMS.synthetic)


def in_child(work, die=lambda: None) -> int:
    """Exit status of a fork that does `work`; `die` prepares its death. MLflow's store is opened in forks only: no connection crosses."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die()
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def told(root: Path, ask) -> object:
    """What `ask` answers, as JSON, in a fork."""
    file = root / "answer.json"
    assert in_child(lambda: file.write_text(json.dumps(ask(), default=str))) == 0
    return json.loads(file.read_text())


def champion() -> str:
    """The id behind paper, after its bundle was verified."""
    return promotion.champion(NAME, PARAMS).id


def promote(sealed, reason: str = "") -> None:
    tracking.register(NAME, sealed.folder, RUN, "paper", reason)


def seal(folder: Path, left_out: int) -> bundle.Bundle:
    """A bundle made from all bars but the last `left_out`."""
    return small_bundle.build(folder, BARS.iloc[: len(BARS) - left_out], PARAMS)


def back() -> dict:
    return promotion.roll_back(NAME, "paper", PARAMS)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A workspace with three sealed bundles, none of them promoted, and MLflow's empty store."""
    for part in ("tracking", "model_registry"):  # once here, and not in every fork
        importlib.import_module(f"mlflow.store.{part}.sqlalchemy_store")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("QUANTALPHA_SIGNING_KEY", "QUANTALPHA_TRUSTED_KEYS", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        workspace = Workspace(tmp_path_factory.mktemp("registry"))
        with workspace.entered():
            sealed = [seal(workspace.root / "data/bundles", left_out) for left_out in (200, 100, 0)]
            assert in_child(store.experiment_id) == 0
    return workspace.root, sealed


@pytest.fixture
def place(template, tmp_path):
    """(root, bundles) of an own copy; the bundles lie in the template, and are only read."""
    root, sealed = template
    own = copied(root, tmp_path / "own")
    with own.entered():
        yield own, sealed


def copied(root: Path, folder: Path) -> Workspace:
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns("bundles"))
    own = Workspace.__new__(Workspace)
    own.root = folder
    return own


def test_rolling_back_twice_goes_two_steps_back_and_then_no_further(place):
    workspace, (a, b, c) = place

    def story():
        ids = [a.id, b.id, c.id]
        for sealed in (a, b, c):
            promote(sealed, "better")
        promote(c)  # again: nothing moves
        moved = [back()["to"], back()["to"]]
        promote(c)
        return ids, moved, back()["to"], champion(), tracking.find_alias(NAME, "live")

    ids, moved, last, now, live = told(workspace.root, story)
    assert moved == [ids[1], ids[0]] and last == now == ids[0] and live is None
    lines = tracking.moves(NAME, "paper")
    assert [(line["move"], line["reason"]) for line in lines[:3]] == [("promote", "better")] * 3 and len(lines) == 7
    assert [(line["from"], line["to"]) for line in lines][:2] == [(None, a.id), (a.id, b.id)]
    assert all("@" in line["who"] and line["time"].endswith("+00:00") for line in lines)
    Answer(*told(workspace.root, lambda: astuple(workspace.call("rollback", *SETTINGS)))).complains(
        2, f"{NAME}@paper pointed to no bundle before this one"
    )


def test_from_the_command_line(place):
    workspace, (a, b, _) = place

    def story():
        promote(a)
        promote(b, "better")
        words = (["--reason", "drawdown", "--json", *SETTINGS], ["--list"], ["import-BTCUSDT-1d"])
        return [astuple(workspace.call("rollback", *each)) for each in words]

    moved, shown, wrong = (Answer(*each) for each in told(workspace.root, story))
    assert moved.code == 0 and [moved.json[key] for key in ("from", "to", "reason")] == [b.id, a.id, "drawdown"]
    assert [line.split("  ")[2] for line in shown.out.splitlines()] == ["promote", "promote", "rollback"]
    assert f"{NAME}@paper  {b.id[:12]} -> {a.id[:12]}  drawdown" in shown.out
    wrong.complains(2, "not registered; did you mean 'import-BTCUSDT-1h'")


def test_an_alias_moved_by_other_means_counts(place):
    """By MLflow's page, or by a version of this package that wrote no record."""
    workspace, (a, b, c) = place

    def story():
        promote(a)
        promote(b)
        client, version = store.connect(), registry._enter(NAME, c.folder.as_uri(), RUN)
        client.set_registered_model_alias(NAME, "paper", version.version)
        return [back()["to"], back()["to"]]

    assert told(workspace.root, story) == [b.id, a.id]


def dies_at(step: int):
    """Prepares a process to kill itself before or after one of its steps: sealing, entering the version, writing down, moving the alias."""

    def prepare() -> None:
        from mlflow import MlflowClient

        left = [step]
        steps = (
            (bundle.os, "rename"),
            (MlflowClient, "create_model_version"),
            (audit, "append"),
            (MlflowClient, "set_registered_model_alias"),
        )
        for owner, name in steps:
            setattr(owner, name, ticking(getattr(owner, name), left))

    return prepare


def ticking(real, left: list[int]):
    def stepped(*given, **named):
        tick(left)
        answer = real(*given, **named)
        tick(left)
        return answer

    return stepped


def tick(left: list[int]) -> None:
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)


def killed(workspace: Workspace, work):
    """A copy of the workspace for each step of `work` at which a process is killed in turn, and is then entered."""
    for step in range(1, 20):
        own = copied(workspace.root, workspace.root.with_name(f"killed-{step}"))
        with own.entered():
            if not os.WIFSIGNALED(in_child(lambda root=own.root: work(root), dies_at(step))):
                return
            yield own.root


def test_killed_at_any_step_of_a_promotion_there_is_one_sound_champion_and_the_next_one_heals(place):
    workspace, (a, b, _) = place
    assert in_child(lambda: promote(a)) == 0

    def attempt(root: Path) -> str:
        promote(seal(root / "data/bundles", 100))
        return champion()

    found = []
    for root in killed(workspace, attempt):
        first, *healed = told(root, lambda root=root: [champion(), attempt(root), back()["to"], champion()])
        found.append(first)
        assert healed == [b.id, a.id, a.id]
    assert found == [a.id] * 7 + [b.id], "before and after each of four steps; the last one moves the alias"


def test_killed_at_any_step_of_a_rollback_there_is_one_sound_champion_and_the_next_one_heals(place):
    workspace, (a, b, c) = place
    assert in_child(lambda: [promote(each) for each in (a, b, c)]) == 0
    found = []
    for root in killed(workspace, lambda root: back()):
        first, *healed = told(root, lambda: [champion(), *(back()["to"] for _ in range(2 if champion() == c.id else 1)), champion()])
        found.append(first)
        assert healed == ([b.id] if first == c.id else []) + [a.id, a.id]
    assert found == [c.id] * 3 + [b.id]


def test_promoted_from_two_processes_at_once_the_record_and_the_alias_agree(place):
    workspace, (a, b, c) = place

    def often(one, other):
        for _ in range(4):
            promote(one)
            promote(other)

    children = []
    for pair in ((a, b), (c, a)):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                often(*pair)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    lines = tracking.moves(NAME, "paper")
    assert [line["from"] for line in lines] == [None, *(line["to"] for line in lines[:-1])]
    assert told(workspace.root, champion) == lines[-1]["to"]


def test_a_session_that_starts_while_the_alias_moves_runs_one_whole_bundle(place):
    workspace, (a, b, c) = place
    assert in_child(lambda: promote(a)) == 0

    def sessions() -> list:
        started = []
        for _ in range(5):
            found = promotion.champion(NAME, PARAMS)
            ran = runner.run_replay(found, PARAMS, BARS.tail(40))
            card = json.loads((Path(ran.folder) / "session.json").read_text())["bundles"][0]
            started.append([found.id, ran.bundle, card["id"], sha256(Path(card["folder"]) / "manifest.json")])
        return started

    mover = os.fork()
    if mover == 0:
        while True:
            for each in (b, c, a):
                promote(each)
    try:
        started = told(workspace.root, sessions)
    finally:
        os.kill(mover, signal.SIGKILL)
        os.waitpid(mover, 0)
    assert all(len(set(ids)) == 1 and ids[0] in (a.id, b.id, c.id) for ids in started) and len(started) == 5
    assert told(workspace.root, champion) in (a.id, b.id, c.id)


@pytest.mark.parametrize(
    ("moves", "now", "stood"),
    [
        ([], None, ""),
        ([], "a", "a"),
        (["-a"], "a", "a"),
        (["-a"], None, ""),  # killed before the first move
        (["-a", "ab"], "b", "ab"),
        (["-a", "ab"], "a", "a"),  # killed before the move
        (["-a", "ab", "ac"], "c", "ac"),
        (["-a", "ab", "<ba"], "a", "a"),
        (["-a", "ab", "<ba"], "b", "ab"),  # a rollback killed before the move
        (["-a", "ab", "bc", "<cb", "<ba"], "a", "a"),
        (["-a", "ab", "<ba", "ac", "ca"], "a", "aca"),
        (["-a", "ab"], "x", "abx"),  # moved by other means
        (["-a", "xb"], "b", "axb"),
        (["-a", "ab", "-c"], "c", "abc"),  # the alias was deleted meanwhile
        (["-a", "aa"], "a", "a"),  # the same bundle in another place
    ],
)
def test_where_an_alias_stood_is_read_from_its_moves(moves, now, stood):
    lines = [{"move": "rollback" if "<" in way else "promote", "from": way[-2].strip("-") or None, "to": way[-1]} for way in moves]
    assert "".join(registry._stood(lines, now)) == stood

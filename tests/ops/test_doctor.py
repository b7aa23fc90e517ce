"""The doctor finds what is wrong, says what is right, and shows no secret."""

import json
import shutil
from types import SimpleNamespace

import pytest
from postbox import webhook
from workspace import Workspace, at, free_port, words

from quantalpha import config
from quantalpha.errors import ExchangeError
from quantalpha.market.exchange import Client
from quantalpha.ops import doctor

NOWHERE = words(at("http://127.0.0.1:1") | {"venue.source": "nowhere"})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in doctor.SECRETS + tuple(doctor.SERVICES):
        monkeypatch.delenv(name, raising=False)
    return Workspace(tmp_path / "w")


def found(workspace, *more) -> dict[str, tuple[str, str]]:
    answer = workspace.call("doctor", "--json", *NOWHERE, *more)
    return {row["check"]: (row["state"], row["found"]) for row in answer.json["findings"]}


def test_a_sound_workspace_is_sound(workspace):
    answer = workspace.call("doctor", *NOWHERE)
    assert answer.code == 0 and "in requirements.lock" in answer.out
    states = {name: state for name, (state, _) in found(workspace).items()}
    assert set(states) == set(doctor.CHECKS) and "bad" not in states.values()
    assert (states["clock"], states["alerts"]) == ("note", "note"), "nothing answers there, and nobody is told"


def test_another_library_than_the_locks_is_named(workspace):
    lock = workspace.root / "requirements.lock"
    lock.write_text(lock.read_text().replace("pandas==", "pandas==99."))
    answer = workspace.call("doctor", *NOWHERE)
    assert answer.code == 2 and "pandas" in answer.err and "not 99." in answer.err


def test_a_damaged_bundle_is_bad_data(workspace):
    folder = workspace.root / "data/bundles/0123"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    workspace.call("doctor", *NOWHERE).complains(4, "doctor: bundles:")


def test_a_halted_account_is_told(workspace):
    for account, text in {"live-bybit": json.dumps({"reason": "daily loss"}), "testnet-bybit": "garbage"}.items():
        (workspace.root / "data/accounts" / account).mkdir(parents=True)
        (workspace.root / "data/accounts" / account / "latch.json").write_text(text)
    assert found(workspace)["halted"] == (
        "note",
        "halted until `quantalpha reset`: live-bybit (daily loss), testnet-bybit (not readable)",
    )


def test_a_full_disk_and_a_folder_that_is_not_ours(workspace, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3e8))
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    answer = workspace.call("doctor", *NOWHERE)
    assert answer.code == 2 and "disk: 0.3 GB free, 1 GB wanted; folders: not writable: data, mlruns" in answer.err


def test_services_that_are_configured_must_answer(workspace, monkeypatch):
    monkeypatch.setenv("QUANTALPHA_REDIS_URL", f"redis://:hunter2secret@127.0.0.1:{free_port()}/0")
    assert found(workspace)["services"] == ("bad", "no connection: QUANTALPHA_REDIS_URL")


def test_secrets_are_named_and_an_open_file_of_them_is_told(workspace):
    (workspace.root / ".env").write_text("QUANTALPHA_API_KEY=abcdef123456\n")
    (workspace.root / ".env").chmod(0o644)
    state, text = found(workspace)["secrets"]
    assert state == "note" and "chmod 600 .env; set: QUANTALPHA_API_KEY" in text


@pytest.mark.parametrize(("ahead", "state"), [(0.0, "ok"), (1.5, "ok"), (2.5, "bad"), (-2.5, "bad"), (-86_400.0, "note")])
def test_the_clock_is_compared_with_the_venues(workspace, monkeypatch, ahead, state):
    async def theirs(self):
        return int((doctor.time.time() - ahead) * 1000)

    monkeypatch.setattr(Client, "server_time", theirs)
    assert found(workspace)["clock"][0] == state


def test_a_venue_that_is_away_is_no_fault(workspace, monkeypatch):
    async def away(self):
        raise ExchangeError("nobody there")

    monkeypatch.setattr(Client, "server_time", away)
    assert found(workspace)["clock"] == ("note", "binanceusdm cannot be reached: nobody there")
    assert found(workspace, "--set", "venue.name=import")["clock"][0] == "note"


def test_the_alerts_self_test_tells_each_channel(workspace, monkeypatch):
    with webhook() as hook, webhook(status=500) as broken:
        monkeypatch.setenv("QUANTALPHA_ALERTS", hook.address)
        answer = workspace.call("doctor", "--alerts", "--json")
        assert answer.code == 0 and answer.json["channels"][0]["arrived"] and hook.next()["title"] == "quantalpha: self-test"
        monkeypatch.setenv("QUANTALPHA_ALERTS", f"{hook.address} {broken.address}")
        workspace.call("doctor", "--alerts").complains(5, "1 of 2 channels took no message: 2 (JSON): ", "500")
    monkeypatch.setenv("QUANTALPHA_ALERTS", "garbage")
    workspace.call("doctor", "--alerts").complains(2, "address 1 (no scheme)")
    monkeypatch.delenv("QUANTALPHA_ALERTS")
    workspace.call("doctor", "--alerts").complains(2, "QUANTALPHA_ALERTS: not set")


def test_every_secret_the_doctor_names_is_in_the_example_and_masked():
    example = (config.root() / ".env.example").read_text()
    assert all(f"# {name}=" in example for name in doctor.SECRETS)

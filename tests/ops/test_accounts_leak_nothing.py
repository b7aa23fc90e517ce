"""What is said and kept of an account at a venue, by those who stop it: kill, reset, the watchdog, a person's word on an order."""

import asyncio
import json
import logging

from workspace import Workspace, entered

from quantalpha import config
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import ApiKey, Faults, Tape, TradingFaults
from quantalpha.practice.background import played
from quantalpha.runner import desk
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.emergency import desk_of
from quantalpha.runner.events import InstructionEvent

KEY, SECRET = "live-key-0123456789abcdef", "live-secret-9876543210fedcba"
SECRETS = {"QUANTALPHA_API_KEY": KEY, "QUANTALPHA_API_SECRET": SECRET}
ACCOUNT = "live-practice"


def card(server) -> dict:
    """A session's that is gone, with what a careless person may have written into it."""
    params = config.load("demo").model_dump(mode="json", include={"venue", "switches", "runner"})
    venue = params.pop("venue") | {"rest_url": server.url, "ws_url": server.ws_url, "timeout": 5.0}
    params["runner"] |= {"dead_man": 0.5, "note": f"key {KEY}"}
    return {"mode": "live", "venue": venue, "symbols": ["BTCUSDT"], "session": "s1", "params": params}


async def bought(told: dict) -> None:
    order = {"client_id": "qa-1", "parent": "", "action": "place", "kind": "market", "quantity": 0.01, "price": None}
    async with desk_of(told) as venue:
        await venue.place(InstructionEvent(event_time=0, recv_time=0, symbol="BTCUSDT", bar=0, **order, reduce_only=False))


def asked(space: Workspace) -> str:
    """The client id of an order that waits for a person's word."""
    folder, name = space.root / "data/sessions/s1", "qa-" + "0" * 32
    (folder / desk.FOLDER).mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps({"session": "s1", "mode": "live"}))
    question = {"client_id": name, "symbol": "BTCUSDT", "quantity": 0.01, "price": 30_000.0, "target": 0.1, "within": 60.0}
    (folder / desk.FOLDER / f"{name}.json").write_text(json.dumps(question))
    return name


def test_no_output_holds_the_key(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    space, tape = Workspace(tmp_path), Tape({"BTCUSDT": synthetic_bars("BTCUSDT", config.load("demo").synthetic)})
    faults = Faults(account=TradingFaults({"malformed": 0.2, "server_error_before_accept": 0.2}, seed=5, where="account"))
    with played(tape, speed=1.0, keys=[ApiKey(KEY, SECRET)], faults=faults) as server, entered(tmp_path, **SECRETS):
        told, account = card(server), AccountFolder(ACCOUNT)
        asyncio.run(bought(told))
        with account.hold(told):
            pass
        account.beat()  # who dies leaves it behind
        answers = [space.run("watchdog", "--account", ACCOUNT, **SECRETS)]
        server.faults.account.chance = {}
        answers += [space.call("reset", "--reason", f"was {SECRET}"), space.call("kill", "--reason", f"key {KEY}", "--json")]
        answers += [space.call("accounts"), space.call("approve", asked(space))]
    assert [answer.code for answer in answers] == [7, 0, 0, 0, 2], answers  # nobody asks once a session has ended
    outputs = {f"command {n}": answer.out + answer.err for n, answer in enumerate(answers)} | {"log": caplog.text}
    outputs |= {str(path): path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()}
    assert [(where, word) for where, found in outputs.items() for word in (KEY, SECRET) if word in found] == []
    assert "***" in outputs[str(account.path / "latch.json")] and "***" in outputs[str(account.path / "account.json")]

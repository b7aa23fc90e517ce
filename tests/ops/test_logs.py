"""The log of a session: a line of JSON for what happened, in files that do not grow for ever; and no output holds a secret."""

import json
import logging
from pathlib import Path

import happened
import pytest
from happened import said
from postbox import webhook
from workspace import Workspace, entered

from quantalpha import config
from quantalpha.ops import alerts, logs, watch
from quantalpha.ops.logs import FILE, SessionLog
from quantalpha.ops.watch import watching
from quantalpha.runner.journal import FILE as JOURNAL
from quantalpha.runner.journal import Journal

PARAMS = config.load("demo")
KEY, SECRET, PASSWORD, TOKEN = "plantedkey4b8e61", 'planted"secret\\9c', "plantedpass77", "plantedtoken-0123456789"

NOWHERE = "--set venue.source=nowhere --set venue.rest_url=http://127.0.0.1:1 --set venue.ws_url=ws://127.0.0.1:1"


def settings(**values) -> config.Logs:
    return PARAMS.logs.model_copy(update=values)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_events_and_warnings_are_lines_of_json(tmp_path):
    written = SessionLog(tmp_path, settings())
    for event in (said("start", "paper"), happened.closed(1), happened.filled(1), happened.refused(), happened.tripped()):
        written.observe(event)
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("some.library").warning("retry %d", 3, exc_info=True)
    logging.getLogger("some.library").info("chatter")
    written.close()
    logging.getLogger("some.library").error("after the end")
    found = lines(tmp_path)
    assert [(line["level"], line["kind"]) for line in found] == [
        ("info", "Session"), ("info", "Fill"), ("warning", "RejectedOrder"), ("error", "Switch"), ("warning", "Log"),
    ]  # fmt: skip
    assert found[1]["event"] == happened.filled(1).__dict__ and {line["session"] for line in found} == {tmp_path.name}
    assert found[4]["message"] == "retry 3" and found[4]["logger"] == "some.library" and "ValueError: odd" in found[4]["exception"]


@pytest.mark.parametrize(("level", "kinds"), [("debug", 4), ("warning", 1), ("error", 1)])
def test_the_level_decides(tmp_path, level, kinds):
    written = SessionLog(tmp_path, settings(level=level))
    for event in (happened.closed(1), happened.equity(1, 5.0), happened.filled(1), said("stop", "Halted: no news")):
        written.observe(event)
    written.close()
    assert len(lines(tmp_path)) == kinds and lines(tmp_path)[-1]["level"] == "error"


def test_files_are_rotated_and_the_oldest_go(tmp_path):
    written = SessionLog(tmp_path, settings(rotate_mb=0.002, keep=2))
    for n in range(40):
        written.observe(happened.filled(n))
    written.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [FILE, f"{FILE}.1", f"{FILE}.2"] and all((tmp_path / name).stat().st_size <= 2000 for name in files)
    newest = [json.loads(line)["event"] for name in reversed(files) for line in (tmp_path / name).read_text().splitlines()]
    assert newest == [happened.filled(n).__dict__ for n in range(40 - len(newest), 40)], "in order, up to the last"


def test_lines_without_room_are_counted_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "CAPACITY", 3)
    monkeypatch.setattr(logs.threading.Thread, "start", lambda thread: None)
    written = SessionLog(tmp_path, settings())
    monkeypatch.undo()
    for n in range(10):
        written.observe(happened.filled(n))
    assert written.lost == 7
    written._thread.start()
    written.close()
    assert [line.get("lost") for line in lines(tmp_path)] == [7, None, None]


def test_a_disk_that_refuses_does_not_reach_the_engine(tmp_path, capsys):
    written = SessionLog(tmp_path / "gone", settings())
    written.observe(happened.filled(1))
    written.close()
    assert written._file.failed == 1 and capsys.readouterr().err == ""


def test_a_watcher_that_fails_harms_nobody(tmp_path, monkeypatch):
    def broken(self, event):
        raise RuntimeError("a bug")

    monkeypatch.setattr(watch.Alerts, "tell", broken)
    with entered(tmp_path), watching(tmp_path, PARAMS) as observers:
        for observe in observers:
            observe(happened.filled(1))
    assert [line["kind"] for line in lines(tmp_path)] == ["Fill", "Log"] and "a bug" in lines(tmp_path)[1]["exception"]


def test_a_session_is_watched_from_its_start_to_its_last_word(tmp_path):
    with webhook() as hook, entered(tmp_path, QUANTALPHA_ALERTS=hook.address):
        past = [happened.opened(0), *(happened.closed(hour) for hour in range(23))]
        with watching(tmp_path, PARAMS, past) as observers:
            for event in (said("resume", "paper"), happened.closed(23), happened.opened(24), said("stop", "interrupted")):
                for observe in observers:
                    observe(event)
        start, report, stop = hook.texts(3)
    assert "session resume" in start and "bars 24 of 24" in report and "session stop" in stop
    assert [line["kind"] for line in lines(tmp_path)] == ["Session", "Session"]


@pytest.fixture
def planted(tmp_path):
    """A workspace whose environment holds secrets, a webhook among them that takes messages, and one that does not."""
    with webhook() as hook, webhook(status=500) as broken:
        addresses = f"{hook.address}/{TOKEN} {broken.address.replace('//', f'//bot:{PASSWORD}@')}"
        secrets = {"QUANTALPHA_API_KEY": KEY, "QUANTALPHA_API_SECRET": SECRET, "QUANTALPHA_ALERTS": addresses}
        yield Workspace(tmp_path), hook, secrets


def leaky(text: str) -> list:
    """Events and log records whose words hold secrets, as a venue or a library may make them."""
    return [
        said("start", f"key {KEY}"),
        happened.updated("rejected", f"bad signature: apiKey={KEY} secret={SECRET}"),
        happened.updated("in_doubt", f"https://bot:{PASSWORD}@venue.example/order?key={KEY}"),
        happened.tripped(name="api_errors"),
        said("stop", f"ExchangeError: {text}"),
    ]


def test_no_output_holds_a_secret(planted, monkeypatch):
    monkeypatch.setattr(alerts, "PAUSE", 0.0)
    workspace, hook, secrets = planted
    text = f"{KEY} {SECRET} {TOKEN} {PASSWORD} http://ann:{PASSWORD}@host/"
    folder = workspace.root / "data/sessions/s1"
    folder.mkdir(parents=True)
    with entered(workspace.root, **secrets):
        (folder / "session.json").write_text(json.dumps({"session": "s1", "bundles": [{"id": "0" * 64, "folder": "/nowhere"}]}))
        journal = Journal(folder / JOURNAL, "s1")
        with watching(folder, PARAMS) as observers:
            for event in leaky(text):
                journal.append(event)
                for observe in observers:
                    observe(event)
            try:
                raise RuntimeError(text)
            except RuntimeError:
                logging.getLogger("some.library").exception("failed for %s", text)
        journal.close()
    told = [workspace.run(*words.split(), **secrets) for words in (
        "report s1 --json", "report s1 --period day", f"doctor {NOWHERE}", "doctor --alerts", "doctor --alerts --json", "approve --list",
        f"doctor {NOWHERE}".replace("//", f"//ann:{PASSWORD}@"),
    )]  # fmt: skip
    assert [answer.code for answer in told] == [0, 0, 0, 5, 5, 0, 2]
    outputs = {f"command {n}": answer.out + answer.err for n, answer in enumerate(told)}
    outputs |= {str(path): path.read_bytes().decode(errors="replace") for path in workspace.root.rglob("*") if path.is_file()}
    outputs["webhook"] = "\n".join(json.dumps(hook.mail.get()) for _ in range(hook.mail.qsize()))
    leaks = [
        (where, word)
        for where, found in outputs.items()
        for word in (KEY, SECRET, json.dumps(SECRET)[1:-1], PASSWORD, TOKEN)
        if word in found
    ]
    assert leaks == []
    assert "***" in outputs[str(folder / FILE)] and "***" in outputs["webhook"] and "***" in outputs[str(folder / JOURNAL)]
    assert "QUANTALPHA_API_SECRET" in outputs["command 2"], "secrets are named, not shown"

"""Asks a person about each order that waits: on the terminal, or `quantalpha approve` in another one through files in the session's folder.

    <session>/approvals/<client id>.json           the question: what would be traded
                        <client id>.answer.json    the answer: {"approved", "who"}

`ask` and `settled` follow the engine's events, `poll` brings the answers as ApprovalEvents: at most one for a question, a refusal once the
time is up. Nobody waits for a file or a key: `poll` looks and returns.
"""

import json
import os
import queue
import re
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from quantalpha import audit
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import read_json, write_atomic
from quantalpha.runner.approval import APPROVE
from quantalpha.runner.events import ApprovalEvent, Event, FillEvent, RejectedOrderEvent, ValidatedOrderEvent

if TYPE_CHECKING:
    from quantalpha.runner.session import Session

FOLDER, ANSWER = "approvals", ".answer.json"
CLIENT_ID = re.compile(r"[a-z0-9-]{1,36}")
DECIDED = ("order", "limit")  # reasons of fills that somebody decided on
WORDS = {"y": True, "yes": True, "n": False, "no": False}


@dataclass(frozen=True)
class Question:
    order: ValidatedOrderEvent
    deadline: float  # of the desk's clock
    overtaken: str = ""  # by a fill that nobody decided on: why


class Desk:
    """One session's questions. folder: the session's; within: seconds to answer; clock: monotonic seconds.

    Call it with every journalled event (it is one of the engine's observers), and `poll` often.
    """

    def __init__(self, folder: Path, within: float, clock: Callable[[], float], terminal: "Terminal | None" = None):
        self.folder, self.within, self.clock, self.terminal = folder / FOLDER, within, clock, terminal
        self._open: dict[str, Question] = {}
        self._shown = ""  # which of them the terminal shows: one at a time, so that a word cannot meet another order

    def __call__(self, event: Event) -> None:
        if isinstance(event, ValidatedOrderEvent) and event.quantity != 0.0:
            self.ask(event)
        elif isinstance(event, RejectedOrderEvent | ApprovalEvent):
            self.settled(event.client_id)
        elif isinstance(event, FillEvent) and event.reason not in DECIDED:
            self._overtaken(event)

    def _overtaken(self, fill: FillEvent) -> None:
        """A stop has ended the position that an order was decided for: said yes to now, it would open another one."""
        for client_id, question in self._open.items():
            if question.order.symbol == fill.symbol:
                self._open[client_id] = replace(question, overtaken=fill.reason)

    def ask(self, order: ValidatedOrderEvent) -> None:
        """Also for what `Gate` still holds after a restart: an answer from before it does not count, the time begins anew."""
        self._answer(order.client_id).unlink(missing_ok=True)
        asked = {"symbol": order.symbol, "quantity": order.quantity, "price": order.price, "target": order.target}
        asked["until"] = time.time() + self.within
        write_atomic(self._question(order.client_id), json.dumps({"client_id": order.client_id} | asked) + "\n")
        self._open[order.client_id] = Question(order, self.clock() + self.within)
        self._show()

    def settled(self, client_id: str) -> None:
        """It was decided: nobody need answer any more."""
        if self._open.pop(client_id, None) is not None:
            self._question(client_id).unlink(missing_ok=True)
            self._answer(client_id).unlink(missing_ok=True)
            self._show()

    def close(self) -> None:
        """The session ends: nobody need answer any more. A resumed one asks anew."""
        self.terminal = None
        for client_id in list(self._open):
            self.settled(client_id)

    def poll(self, now: Mapping[str, int], price: Callable[[str], float]) -> list[ApprovalEvent]:
        """What was answered since, and what was not in time. now: event_time (the market's) and recv_time (ours), ms since 1970 UTC;
        price: of a symbol's market now, NaN if unknown."""
        events = []
        for client_id, question in list(self._open.items()):
            answer = self._said(client_id, question)
            if answer is not None:
                symbol, (approved, who) = question.order.symbol, answer
                said = {"client_id": client_id, "approved": approved, "who": who, "price": price(symbol)}
                events.append(ApprovalEvent(**now, symbol=symbol, **said))
                self.settled(client_id)
        return events

    def _said(self, client_id: str, question: Question) -> tuple[bool, str] | None:
        """(approved, who), None while there is still time. Past the deadline nothing that was written counts."""
        if question.overtaken:
            return False, f"overtaken by a {question.overtaken}"
        if not self.clock() <= question.deadline:
            return False, f"nobody answered within {self.within:g} s"
        word = self.terminal.word() if self.terminal is not None and client_id == self._shown else None
        if word is not None:
            return word, person("terminal")
        path = self._answer(client_id)
        if not path.exists():
            return None
        return _read(path)

    def _show(self) -> None:
        if self.terminal is not None and self._open and self._shown not in self._open:
            self._shown, question = next(iter(self._open.items()))
            self.terminal.show(f"{sentence(vars(question.order))}; y or n within {self.within:g} s? ")

    def _question(self, client_id: str) -> Path:
        return self.folder / f"{client_id}.json"

    def _answer(self, client_id: str) -> Path:
        return self.folder / f"{client_id}{ANSWER}"


def _read(path: Path) -> tuple[bool, str]:
    """What this user (or root) has written where not everybody can; anything else is a no."""
    try:
        found = path.lstat()
        if found.st_uid not in (os.geteuid(), 0) or not stat.S_ISREG(found.st_mode) or found.st_mode & stat.S_IWOTH:
            return False, "an answer that somebody else could have written"
        answer = read_json(path, "approved", "who")
    except (DataError, OSError):
        return False, "an answer that cannot be read"
    if not isinstance(answer["approved"], bool):
        return False, "an answer that is neither true nor false"
    return answer["approved"], str(answer["who"])


class Terminal:
    """Lines typed into `source`, read by a thread of their own that ends with the process."""

    def __init__(self, source: TextIO, shown: TextIO):
        self.shown = shown
        self._words: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(source,), daemon=True, name="approvals").start()

    def show(self, text: str) -> None:
        """Words typed before the question answer nothing."""
        while self.word() is not None:
            pass
        print(text, end="", file=self.shown, flush=True)

    def word(self) -> bool | None:
        """The next yes or no; None where nobody typed one."""
        try:
            return self._words.get_nowait()
        except queue.Empty:
            return None

    def _listen(self, source: TextIO) -> None:
        for line in source:
            word = WORDS.get(line.strip().lower())
            if word is not None:
                self._words.put(word)


def asking(session: "Session") -> Desk | None:
    """Where a person is asked, in approve mode; one that was asked before a restart is asked again."""
    if session.params.runner.orders != APPROVE:
        return None
    terminal = Terminal(sys.stdin, sys.stderr) if sys.stdin is not None and sys.stdin.isatty() else None
    desk = Desk(session.folder, session.params.runner.approve_within, time.monotonic, terminal)
    for order in session.engine.gates.approval:
        desk.ask(order)
    session.engine.observers.append(desk)
    session.at_the_end(desk.close)
    return desk


def questions(folder: Path) -> list[dict]:
    """What a session waits for a word on: client_id, symbol, quantity (signed, base units), price (quote), target, until (when its time is
    over, seconds since 1970)."""
    asked = sorted(path for path in (folder / FOLDER).glob("*.json") if not path.name.endswith(ANSWER))
    return [read_json(path, "client_id", "symbol", "quantity", "price", "until") | {"session": folder.name} for path in asked]


def answer(sessions: list[Path], client_id: str, approved: bool) -> dict:
    """Writes a person's word where the session finds it; the question. UsageError: no session asks about such an order."""
    known = {asked["client_id"]: (asked, folder) for folder in sessions for asked in questions(folder)}
    if not CLIENT_ID.fullmatch(client_id) or client_id not in known:
        near = did_you_mean(client_id[:36], known) if known else "no session waits for a word"
        raise UsageError(f"order {client_id[:36]!r}: nobody asks about it (any more); {near}")
    asked, folder = known[client_id]
    write_atomic(folder / FOLDER / f"{client_id}{ANSWER}", json.dumps({"approved": approved, "who": person("quantalpha approve")}) + "\n")
    return asked


def person(where: str) -> str:
    """Who this is, and how it was said."""
    return f"{audit.stamp('')['who']}, {where}"


def sentence(asked: dict) -> str:
    """'buy 0.250 BTCUSDT at about 65,000.00'."""
    verb = "buy" if asked["quantity"] > 0 else "sell"
    return f"{verb} {abs(asked['quantity']):.12g} {asked['symbol']} at about {asked['price']:,.8g}"

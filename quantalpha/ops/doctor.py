"""Is this machine fit to trade: what `quantalpha doctor` looks at, each a finding of one line. Nothing is changed, no secret is shown."""

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from quantalpha import bundle, config
from quantalpha.errors import DataError, ExchangeError, QuantalphaError, UsageError
from quantalpha.files import read_json
from quantalpha.ops.alerts import channels
from quantalpha.workspace import LOCK

PYTHON = (3, 11)
LEAST_FREE = 1e9  # bytes; a journal that cannot be written ends the session
FOLDERS = ("data", "mlruns")
SERVICES = {"QUANTALPHA_POSTGRES_URL": 5432, "QUANTALPHA_REDIS_URL": 6379, "QUANTALPHA_INFLUX_URL": 8086, "MLFLOW_TRACKING_URI": 5000}
SECRETS = ("QUANTALPHA_API_KEY", "QUANTALPHA_API_SECRET", "QUANTALPHA_WATCHDOG_API_KEY", "QUANTALPHA_WATCHDOG_API_SECRET",
           "QUANTALPHA_SECOND_API_KEY", "QUANTALPHA_SECOND_API_SECRET",
           "QUANTALPHA_ALERTS", "QUANTALPHA_SIGNING_KEY", "QUANTALPHA_TRUSTED_KEYS", "BINANCE_KEY", "BINANCE_SECRET")  # fmt: skip
PATIENCE = 3.0  # seconds for a service to take a connection


@dataclass(frozen=True)
class Finding:
    """state: ok, note (worth knowing) or bad; error: what kind of error a bad one is."""

    name: str
    state: str
    found: str
    error: type[QuantalphaError] = UsageError

    def row(self) -> dict[str, str]:
        return {"": self.state, "check": self.name, "found": self.found}


def examine(params: config.Params) -> list[Finding]:
    """Every finding, in the order of CHECKS."""
    return [_looked(name, check, params) for name, check in CHECKS.items()]


def require_sound(findings: list[Finding]) -> None:
    """Raises the error of the first bad finding; its message names all."""
    bad = [finding for finding in findings if finding.state == "bad"]
    if bad:
        raise bad[0].error("doctor: " + "; ".join(f"{finding.name}: {finding.found}" for finding in bad))


def require_arrived(rows: list[dict]) -> None:
    """ExchangeError where a channel of the self-test did not take its message, UsageError where there is none."""
    if not rows:
        raise UsageError("QUANTALPHA_ALERTS: not set; put apprise addresses into .env (see .env.example)")
    failed = [f"{row['channel']}: {row['said'] or 'refused'}" for row in rows if not row["arrived"]]
    if failed:
        raise ExchangeError(
            f"alerts: {len(failed)} of {len(rows)} channels took no message: {'; '.join(failed)}; mend the address or the network"
        )


def _looked(name: str, check: Callable, params: config.Params) -> Finding:
    """What a check returns: (state, found); an error of its own is a bad finding."""
    try:
        return Finding(name, *check(params))
    except QuantalphaError as error:
        return Finding(name, "bad", config.mask(str(error)), type(error))


def _python(params) -> tuple[str, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    return ("ok", version) if sys.version_info[:2] == PYTHON else ("bad", f"{version}; expected 3.11, which the lock was tried with")


def _libraries(params) -> tuple[str, str]:
    lock = config.path(LOCK)
    if not lock.is_file():
        raise DataError(f"{LOCK} is missing; restore it from the repository")
    pinned = [line.split("==") for line in lock.read_text().splitlines() if "==" in line and line[0] != "#"]
    differ = [f"{name} {_installed(name)}, not {version.split()[0]}" for name, version in pinned if _installed(name) != version.split()[0]]
    more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
    return ("bad", f"{'; '.join(differ[:5])}{more}; install {LOCK}") if differ else ("ok", f"{len(pinned)} as in {LOCK}")


def _installed(name: str) -> str:
    """The version without a local suffix; 'absent'."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "absent"


def _disk(params) -> tuple[str, str]:
    free = shutil.disk_usage(config.root()).free
    return ("ok" if free >= LEAST_FREE else "bad"), f"{free / 1e9:.1f} GB free, {LEAST_FREE / 1e9:g} GB wanted"


def _folders(params) -> tuple[str, str]:
    refused = [name for name in FOLDERS if not os.access(_existing(config.path(name)), os.W_OK | os.X_OK)]
    return ("bad", f"not writable: {', '.join(refused)}") if refused else ("ok", f"writable: {', '.join(FOLDERS)}")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _clock(params: config.Params) -> tuple[str, str]:
    venue, limit = params.venue, params.switches.clock_skew
    if venue.name == config.IMPORT:
        return "note", "own files, no venue to compare with"
    try:
        skew, doubt = asyncio.run(_skew(venue))
    except ExchangeError as error:
        return "note", f"{venue.name} cannot be reached: {' '.join(str(error).split())[:120]}"
    told = f"{skew:+.3f} s from {venue.name}'s (+- {doubt:.3f})"
    if venue.rest_url is not None and abs(skew) > 3600.0:
        return "note", f"{told}; a tape plays there"
    return (
        ("ok", told) if abs(skew) - doubt <= limit else ("bad", f"{told}, more than switches.clock_skew {limit:g}; synchronise the clock")
    )


async def _skew(venue: config.Venue) -> tuple[float, float]:
    """(seconds our clock is ahead, how much of it the way there and back may explain)."""
    from quantalpha.market.exchange import Client, Retry

    client = Client(venue, Retry(attempts=1))
    try:
        before = time.time()
        theirs = await client.server_time() / 1000
        after = time.time()
    finally:
        await client.exchange.close()
    return (before + after) / 2 - theirs, (after - before) / 2


def _services(params) -> tuple[str, str]:
    given = {name: config.environment()[name] for name in SERVICES if config.environment().get(name, "").partition("://")[1]}
    silent = [name for name, url in given.items() if urlsplit(url).hostname and not _answers(url, SERVICES[name])]
    if silent:
        return "bad", f"no connection: {', '.join(silent)}"
    return "ok", f"reachable: {', '.join(given) or 'none is configured'}"


def _answers(url: str, port: int) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or port), PATIENCE).close()
    except OSError:
        return False
    return True


def _secrets(params) -> tuple[str, str]:
    known = [name for name in SECRETS if name in config.environment()]
    stored = config.path(".env")
    if stored.is_file() and stored.stat().st_mode & 0o077:
        return "note", f"others of this machine can read .env: chmod 600 .env; set: {', '.join(known) or 'none'}"
    return "ok", f"set: {', '.join(known) or 'none'}"


def _channels(params) -> tuple[str, str]:
    names = [channel.name for channel in channels()]
    return (
        ("ok", f"{', '.join(names)}; try them: quantalpha doctor --alerts")
        if names
        else ("note", "nobody is told: QUANTALPHA_ALERTS is not set")
    )


def _bundles(params) -> tuple[str, str]:
    folders = [folder for folder in sorted(config.path("data/bundles").glob("*")) if folder.is_dir() and folder.name[0] != "."]
    for folder in folders:
        bundle.verify(folder)
    return "ok", f"{len(folders)} untouched"


def _latches(params) -> tuple[str, str]:
    found = sorted(config.path("data/accounts").glob("*/latch.json"))
    told = [f"{path.parent.name} ({_why(path)})" for path in found]
    return ("note", f"halted until `quantalpha reset`: {', '.join(told)}") if told else ("ok", "no account is halted")


def _why(path: Path) -> str:
    """A damaged latch halts as well."""
    try:
        return str(read_json(path).get("reason", "no reason"))
    except (DataError, AttributeError):
        return "not readable"


CHECKS = {
    "python": _python,
    "libraries": _libraries,
    "disk": _disk,
    "folders": _folders,
    "clock": _clock,
    "services": _services,
    "secrets": _secrets,
    "alerts": _channels,
    "bundles": _bundles,
    "halted": _latches,
}

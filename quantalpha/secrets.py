"""Secrets come from the environment or `.env` and never leave: everything printed, logged or stored goes through `mask`."""

import json
import os
import re
from functools import cache, lru_cache
from urllib.parse import unquote

from quantalpha.errors import UsageError
from quantalpha.workspace import root

NAMES = ("KEY", "SECRET", "TOKEN", "PASSWORD", "PASSPHRASE")
SHORTEST = 6  # characters: less would mask ordinary words
ALERTS = "QUANTALPHA_ALERTS"  # apprise addresses apart by blanks; tokens stand in their hosts, paths and queries
TOKEN = 12  # characters of a piece of such an address that is taken for one
HOST = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+)(:\d+)?")
USER_INFO = re.compile(r"(?<=://)[^/\s@]*@")


@cache
def environment() -> dict[str, str]:
    """What the process was given: `.env` of the workspace, overlaid by the environment; empty values are left out."""
    from dotenv import dotenv_values

    try:
        stored = dotenv_values(root() / ".env")
    except UsageError:
        stored = {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f".env: cannot be read ({type(error).__name__}): expected lines such as NAME=value in UTF-8") from None
    return {name: value for name, value in {**stored, **os.environ}.items() if value}


def secret(name: str) -> str:
    """A secret by the name of its variable. Raises UsageError naming the variable, never its value."""
    try:
        return environment()[name]
    except KeyError:
        raise UsageError(f"secret {name}: not set; put it into .env (see .env.example) or the environment") from None


def mask(text: str) -> str:
    """`text` with every known secret (whole, line by line, or as JSON writes it) and any user and password of a URL replaced by ***."""
    for form in _hidden(tuple(environment().items())):
        text = text.replace(form, "***")
    return USER_INFO.sub("***@", text)


def masked(value):
    """The same JSON value with every text in it masked; numbers stay numbers."""
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return mask(value) if isinstance(value, str) else value


@lru_cache(maxsize=1)
def _hidden(given: tuple[tuple[str, str], ...]) -> list[str]:
    """Every form of every secret among these variables, the longest first."""
    values = {value for name, value in given if any(word in name.upper() for word in NAMES)} | _tokens(dict(given).get(ALERTS, ""))
    forms = values | {json.dumps(value)[1:-1] for value in values} | {line.strip() for value in values for line in value.splitlines()}
    return sorted((form for form in forms if len(form) >= SHORTEST), key=len, reverse=True)


def _tokens(addresses: str) -> set[str]:
    """The addresses, their passwords, and whatever else in them may be a token; as written and percent-decoded."""
    found = set(addresses.split())
    for address in addresses.split():
        rest = address.partition("://")[2]
        password = re.split(r"[/?]", rest)[0].rpartition("@")[0].partition(":")[2]
        pieces = {piece for piece in re.split(r"[/@?&=,]+", rest) if not HOST.fullmatch(piece)}
        found |= {piece for piece in pieces | {part for piece in pieces for part in piece.split(":")} if len(piece) >= TOKEN}
        found |= {password}
    return found | {unquote(piece) for piece in found}

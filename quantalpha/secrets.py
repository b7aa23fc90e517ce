"""Secrets come from the environment or `.env` and never leave: everything printed, logged or stored goes through `mask`."""

import json
import os
import re
from functools import cache

from quantalpha.errors import UsageError
from quantalpha.workspace import root

NAMES = ("KEY", "SECRET", "TOKEN", "PASSWORD", "PASSPHRASE")
SHORTEST = 6  # characters: less would mask ordinary words
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
    for value in sorted(_hidden(), key=len, reverse=True):
        text = text.replace(value, "***")
    return USER_INFO.sub("***@", text)


def _hidden() -> set[str]:
    values = {value for name, value in environment().items() if any(word in name.upper() for word in NAMES)}
    forms = values | {json.dumps(value)[1:-1] for value in values} | {line.strip() for value in values for line in value.splitlines()}
    return {form for form in forms if len(form) >= SHORTEST}

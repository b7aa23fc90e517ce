"""What a run does: `params.yaml` as frozen models, checked once at load; secrets, which never enter it.

    params = load(profile="demo", overrides=["labels.horizon=12"])
    params.labels.horizon

The values (and the only defaults) stand in `params.yaml`; a profile overlays it, `section.key=value` overlays both.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from quantalpha.config.exchange import CONDITIONS, FAULTS, STREAM_FAULTS, TRADING_FAULTS, UNCERTAIN, Exchange, Faults
from quantalpha.config.sections import (
    COLLECTED,
    IMPORT,
    AccountParams,
    Clean,
    Context,
    CostParams,
    Data,
    Gate,
    Holdout,
    Labels,
    Params,
    Pipeline,
    Policy,
    Quality,
    Splits,
    StopParams,
    Stream,
    Synthetic,
    Venue,
)
from quantalpha.config.trading import Alerts, Execution, Logs, Pair, Risk, Rung, Runner, Switches
from quantalpha.config.training import Boosting, Models, Search
from quantalpha.config.values import Section
from quantalpha.errors import UsageError, did_you_mean
from quantalpha.files import sha256
from quantalpha.secrets import environment, mask, secret
from quantalpha.workspace import lock_sha256, path, require_same_libraries, root

__all__ = [  # `environment` to `root`: everybody reads these from here
    "COLLECTED",
    "CONDITIONS",
    "FAULTS",
    "IMPORT",
    "STREAM_FAULTS",
    "TRADING_FAULTS",
    "UNCERTAIN",
    "AccountParams",
    "Alerts",
    "Boosting",
    "Clean",
    "Quality",
    "Context",
    "CostParams",
    "Data",
    "Exchange",
    "Execution",
    "Faults",
    "Gate",
    "Holdout",
    "Labels",
    "Logs",
    "Pair",
    "Models",
    "Params",
    "Pipeline",
    "Policy",
    "Risk",
    "Rung",
    "Runner",
    "Search",
    "Section",
    "Sections",
    "Splits",
    "StopParams",
    "Stream",
    "Switches",
    "Synthetic",
    "Venue",
    "environment",
    "load",
    "lock_sha256",
    "mask",
    "path",
    "require_same_libraries",
    "root",
    "secret",
    "stage_params",
]


class Sections:
    """The sections a stage declared, by attribute; reading one it did not declare is an error, so that its cache stays true."""

    def __init__(self, values: dict[str, Any]):
        self._values = values

    def __getattr__(self, name):
        try:
            return self._values[name]
        except KeyError:
            hint = "add it to `params` of the stage in pipelines/*.yaml"
            raise UsageError(f"params: this stage did not declare section {name!r}; {hint}") from None


def stage_params(params: dict[str, Any], profile: str = "demo"):
    """What a notebook reads: the sections its pipeline passed, or (run on its own, `params` empty) all of `params.yaml` under `profile`."""
    if not params:
        return load(profile)
    unknown = set(params) - set(Params.model_fields)
    if unknown:
        raise UsageError(f"params: unknown section {sorted(unknown)[0]!r}; {did_you_mean(sorted(unknown)[0], Params.model_fields)}")
    full = load().model_dump(mode="json") | params
    checked = _check(full, "params")
    return Sections({name: getattr(checked, name) for name in params})


def load(profile: str = "default", overrides=(), source: Path | None = None) -> Params:
    """`params.yaml` under a profile and `section.key=value` overrides.

    Raises UsageError with one line naming the key, what was expected and found, and the nearest valid name.
    """
    source = source or root() / "params.yaml"
    try:
        values = yaml.safe_load(source.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{source.name}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{source.name}: expected sections, found {type(values).__name__}")
    profiles = values.pop("profiles", {})
    if profile not in profiles:
        raise UsageError(f"profile: expected one of {', '.join(profiles)}, found {profile!r}; {did_you_mean(profile, profiles)}")
    values = _overlay(values, profiles[profile] or {})
    for text in overrides:
        values = _overlay(values, _parse_override(text))
    return _check(_name_tape(values), source.name, [text.partition("=")[0] for text in overrides])


def _name_tape(values: dict) -> dict:
    """`{tape}` in venue.source becomes a short hash of what is played, so that two tapes never share a folder of the raw lake."""
    venue = values.get("venue")
    if not isinstance(venue, dict) or "{tape}" not in str(venue.get("source")):
        return values
    played = _played(values)
    if venue.get("name") == "bybit" and (values.get("exchange") or {}).get("bybit_funding"):
        played.append(f"bybit_funding {values['exchange']['bybit_funding']}")
    digest = hashlib.sha256("\n".join(played).encode()).hexdigest()[:8]
    return values | {"venue": venue | {"source": venue["source"].replace("{tape}", digest)}}


def _played(values: dict) -> list[str]:
    """What decides a tape's bars: a file's content, or the generator and its parameters (faulty ones are reported by the check to come)."""
    tape = str((values.get("exchange") or {}).get("tape"))
    if tape != "synthetic":
        return [tape, sha256(path(tape)) if path(tape).is_file() else "absent"]
    try:
        settings = Synthetic.model_validate(values.get("synthetic")).model_dump_json()
    except ValidationError:
        settings = "faulty"
    return [settings, sha256(Path(__file__).parents[1] / "market" / "synthetic.py")]


def _parse_override(text: str) -> dict:
    key, sep, value = text.partition("=")
    if not sep or not all(key.split(".")):
        raise UsageError(f"--set: expected section.key=value, found {text!r}")
    try:
        nested = yaml.safe_load(value)
    except (ValueError, yaml.YAMLError):
        raise UsageError(f"--set {key}: {value!r} is no value, or no date of the calendar") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _overlay(base: dict, top: dict) -> dict:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged


def _check(values: dict, where: str, given: Sequence[str] = ()) -> Params:
    """given: keys of --set, which is named where it is at fault."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")  # a misspelt key is missing as well: name it
        told = _explain(faults[0], values)
        path = ".".join(str(part) for part in faults[0]["loc"])
        of = any(f"{path}.".startswith(f"{key}.") or f"{key}.".startswith(f"{path}.") for key in given)
        raise UsageError(f"{'--set' if of else where}: {told}") from None


def _explain(fault: dict, values: dict) -> str:
    """One line for one pydantic fault."""
    path = [part for part in fault["loc"] if isinstance(part, (str, int))]
    key = ".".join(map(str, path)) or "params"
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; {did_you_mean(path[-1], _known(path[:-1]))}"
    if fault["type"] == "missing":
        return f"{key}: missing; give it a value"
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    found = fault["input"]
    if fault["type"] == "value_error" and isinstance(found, dict | Section):  # of the values of a section, told in full
        return f"{key}: {expected}"
    return f"{key}: expected {expected}, found {found!r} ({type(found).__name__})"


def _known(path) -> list[str]:
    """Keys allowed at a place in the tree of models."""
    model = Params
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)

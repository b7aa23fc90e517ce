"""The model registry: which sealed folder an alias such as paper points to, and every move it made.

MLflow knows where an alias points now, and no past. So each move is written to `mlruns/aliases.jsonl` (`audit`) and then made. Killed
between the two, the alias still points to the old folder, and the next line, which begins there, tells that this one was never carried out.
"""

from pathlib import Path

from quantalpha import audit, config
from quantalpha.errors import DataError, QuantalphaError, UsageError, did_you_mean
from quantalpha.files import locked
from quantalpha.tracking import store

FILE = "mlruns/aliases.jsonl"
PROMOTE, ROLLBACK = "promote", "rollback"


def register(name: str, folder: Path, run_id: str, alias: str, reason: str = "") -> str:
    """Enters an immutable folder (a bundle) into the model registry, moves `alias` to it last; returns the version. Twice is harmless.

    Raises QuantalphaError where the registry is a remote server's, which refuses folders of this machine.
    """
    if store.is_remote():
        raise QuantalphaError(
            f"model {name}: the registry at {store.store_name()} cannot hold a folder of this machine; {folder} is sealed and kept; "
            "unset MLFLOW_TRACKING_URI (also in .env), run the pipeline once, which logs its results in mlruns/, and promote again"
        )
    with store.explained(f"model {name} cannot be registered"):
        store.experiment_id()  # makes the database, under the lock that is taken next
        with locked(store.artifact_root()):
            version = _enter(name, folder.resolve().as_uri(), run_id)
            now = _pointed(name, alias)
            if now is None or now.source != version.source:
                _move(version, alias, now, audit.stamp(reason) | {"move": PROMOTE, "run_id": run_id})
            return str(version.version)


def find_alias(name: str, alias: str) -> Path | None:
    """The folder an alias points to; None when there is none."""
    with store.explained(f"alias {alias} of {name} cannot be read"):
        version = _pointed(name, alias)
        return None if version is None else store.path_of(version.source)


def earlier(name: str, alias: str) -> Path:
    """The folder that `alias` pointed to before the one it points to now. UsageError where there was none, DataError where it was taken out
    of the registry."""
    with store.explained(f"alias {alias} of {name} cannot be read"):
        now = _pointed(name, alias)
        stood = _stood(moves(name, alias), None if now is None else _id(now))
        if len(stood) < 2:
            raise UsageError(f"rollback: {name}@{alias} pointed to no bundle before this one; `quantalpha rollback --list` shows its moves")
        return store.path_of(_version(name, stood[-2]).source)


def roll_back(name: str, alias: str, way: tuple[Path, Path], reason: str) -> dict:
    """Moves `alias` (from, to) along `way`; the move as it was written down. UsageError where it no longer points to where `way` begins."""
    start, end = way
    with store.explained(f"alias {alias} of {name} cannot be moved"), locked(store.artifact_root()):
        now = _pointed(name, alias)
        if now is None or store.path_of(now.source) != start:
            raise UsageError(f"rollback: {name}@{alias} was moved meanwhile; look at `quantalpha rollback --list` and run it again")
        return _move(_version(name, end.name), alias, now, audit.stamp(reason) | {"move": ROLLBACK})


def moves(name: str | None = None, alias: str | None = None) -> list[dict]:
    """Every move in order of time, of one model or alias: time, who, reason, move (promote or rollback), model, alias, from, to."""
    wanted = {key: value for key, value in {"model": name, "alias": alias}.items() if value is not None}
    return [move for move in audit.read(config.path(FILE)) if wanted.items() <= move.items()]


def models() -> list[str]:
    """Names of all registered models. A local store is asked without MLflow, whose import takes seconds."""
    names = store.rows("SELECT name FROM registered_models")
    if names is not None:
        return [name for (name,) in names]
    with store.explained("models cannot be listed"):
        return [model.name for model in store.connect().search_registered_models()]


def require_model(name: str) -> None:
    """UsageError naming the nearest where no such model is registered."""
    known = models()
    if name not in known:
        raise UsageError(f"model {name!r}: not registered; {did_you_mean(name, known) if known else 'promote a run first'}")


def _stood(moves: list[dict], now: str | None) -> list[str]:
    """The folders an alias stood on, `now` last. A line that does not end where the next begins was never carried out; where no line led to
    a beginning, the alias was moved by other means, such as MLflow's page."""
    stood, before = [None], [None]
    for move in [*moves, {"from": now}]:
        if stood[-1] != move["from"]:
            stood = before if before[-1] == move["from"] else [*stood, move["from"]]
        if "to" in move:
            before, stood = stood, _moved(stood, move)
    return [folder for folder in stood if folder is not None]


def _moved(stood: list, move: dict) -> list:
    if move["move"] == ROLLBACK:
        return stood[: len(stood) - stood[::-1].index(move["to"])]
    return [*stood, move["to"]] if stood[-1] != move["to"] else stood


def _enter(name: str, source: str, run_id: str):
    """The version of this source. Look, then create what is missing: one process at a time."""
    client, found = store.connect(), f"name = '{store.quoted(name)}'"
    if not client.search_registered_models(found):
        client.create_registered_model(name)
    entered = [version for version in client.search_model_versions(found) if version.source == source]
    return entered[0] if entered else client.create_model_version(name, source, run_id)


def _pointed(name: str, alias: str):
    """The version an alias points to; None when there is none."""
    found = store.connect().search_registered_models(f"name = '{store.quoted(name)}'")
    version = found[0].aliases.get(alias) if found else None
    return None if version is None else store.connect().get_model_version(name, str(version))


def _version(name: str, id: str):
    """The newest version whose folder has this name."""
    entered = [version for version in store.connect().search_model_versions(f"name = '{store.quoted(name)}'") if _id(version) == id]
    if not entered:
        raise DataError(f"rollback: the bundle before, {id[:12]}, is no longer registered for {name}; promote its run again")
    return max(entered, key=lambda version: int(version.version))


def _move(version, alias: str, now, told: dict) -> dict:
    """Writes a move down and makes it."""
    line = told | {"model": version.name, "alias": alias, "from": None if now is None else _id(now), "to": _id(version)}
    written = audit.append(config.path(FILE), lambda earlier: line)
    store.connect().set_registered_model_alias(version.name, alias, version.version)
    return written


def _id(version) -> str:
    return store.path_of(version.source).name

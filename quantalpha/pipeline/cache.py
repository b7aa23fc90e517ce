"""When a stage is fresh: nothing its result depends on has changed since it was recorded.

`parts` names everything the result depends on; the key is its hash, and the difference of two `parts` says why a stage is stale.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantalpha import timeframe
from quantalpha.config import Params, mask
from quantalpha.files import digest_of
from quantalpha.pipeline import sources
from quantalpha.pipeline.digests import Digests
from quantalpha.pipeline.graph import Stage
from quantalpha.pipeline.notebook import Notebook

LOCK = "requirements.lock"
HOW = "pipeline"  # the section that says how a run is done; what comes out of a stage that is given it does not depend on it

Parts = dict[str, dict[str, Any]]


def parts(stage: Stage, notebook: Notebook, params: Params, digests: Digests, root: Path) -> Parts:
    """Everything the result of `stage` depends on, by group and name. No secret is in it."""
    package, modules = sources.used_by(notebook.tree, digests, root)
    return {
        "notebook": {stage.notebook: notebook.digest},
        "package": package,
        "module": modules,
        "params": flatten(params.sections(name for name in stage.sections if name != HOW)),
        "loop": stage.loop,
        "paths": {**stage.inputs, **stage.outputs},
        "input": {path: digests.path(root / path) for path in stage.input_paths()},
        "lock": {LOCK: digests.path(root / LOCK)},
        "clock": _clock(params) if stage.clock else {},
    }


def stale_reasons(record: dict | None, current: Parts, stage: Stage, digests: Digests, root: Path) -> list[str]:
    """Why the recorded result no longer holds; empty: it does."""
    if record is None:
        return ["never run"]
    if record["key"] != digest_of(current):
        named = [text for group in {**current, **record["parts"]} for text in _differences(group, record["parts"], current)]
        return named or ["recorded by another version of quantalpha"]
    found = {path: digests.path(root / path) for path in stage.outputs.values()}
    changed = {path: sha for path, sha in found.items() if sha != record["outputs"].get(path)}
    return [f"output {path} {'is missing' if sha is None else 'was changed'}" for path, sha in changed.items()]


def flatten(values: dict, prefix: str = "") -> dict[str, Any]:
    """{"labels": {"horizon": 24}} -> {"labels.horizon": 24}, with secrets masked."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = mask(value) if isinstance(value, str) else value
    return flat


def _clock(params: Params) -> dict[str, str]:
    """The last closed bar, where the data has no fixed end or one that is still to come."""
    now = time.time()
    if params.data.end is not None and params.data.end.timestamp() <= now:
        return {}
    opened = timeframe.floor(int(now * 1000), params.data.timeframe)
    return {"last bar closed at": datetime.fromtimestamp(opened / 1000, UTC).isoformat()}


def _differences(group: str, old: Parts, new: Parts) -> list[str]:
    before, after = old.get(group, {}), new.get(group, {})
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name) or (name in before) != (name in after)]
    if group == "params":
        return [f"params {name} {before.get(name)} -> {after.get(name)}" for name in changed]
    return [f"{group} {name}" for name in changed]

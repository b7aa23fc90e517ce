"""The stages of a pipeline, read from `pipelines/NAME.yaml`; their order follows from the paths they read and write.

stages:
  features:
    notebook: 03_features                                # notebooks/03_features.ipynb
    foreach: symbol                                      # symbol | model | [symbol, model]: one stage for each value
    params: [features]                                   # sections of params.yaml the notebook is given
    when: {search.trials: [policy, costs]}               # and these, while that parameter is neither null, false nor 0
    inputs: {bars: "data/clean/{symbol}.parquet"}
    outputs: {features: "data/features/{symbol}.parquet"}
  compare:
    notebook: 10_compare
    inputs: {each: "data/reports/{symbol}.json"}         # foreach leaves {symbol} open: the notebook gets the list of all;
                                                         # {leader} and {onchain}: those of params.context, if any
    outputs: {table: data/compare.csv, models: data/best}    # a file or a folder, as the notebook makes it
    clock: true                                          # while data.end is null, a newly closed bar makes the stage stale
"""

import itertools
import string
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from quantalpha.config import Params
from quantalpha.errors import UsageError, did_you_mean

KEYS = ("notebook", "foreach", "params", "when", "inputs", "outputs", "clock")
LOOPS = ("symbol", "model")
LISTS = ("leader", "onchain")  # of inputs only: always open


@dataclass(frozen=True)
class Stage:
    """One run of one notebook. Paths are relative to the workspace."""

    id: str  # train-BTCUSDT-lightgbm
    name: str  # train
    notebook: str
    loop: dict[str, str]  # {"symbol": "BTCUSDT", "model": "lightgbm"}
    sections: tuple[str, ...]
    inputs: dict[str, str | list[str]]
    outputs: dict[str, str]
    clock: bool
    needs: tuple[str, ...] = ()  # ids of the stages that write its inputs

    def input_paths(self) -> list[str]:
        """Every input path, lists flattened, in order."""
        return [path for value in self.inputs.values() for path in ([value] if isinstance(value, str) else value)]


def load(name: str, params: Params, root: Path) -> list[Stage]:
    """The stages of pipeline `name`, each after those it needs. Raises UsageError with one line for a faulty table."""
    table = _read(name, root)
    values = {"symbol": params.data.symbols, "model": params.models.names}
    values |= {"leader": params.context.leaders, "onchain": params.context.onchain}
    stages = []
    for key, entry in table.items():
        where = f"pipelines/{name}.yaml: stage {key}"
        _check_entry(where, key, entry)
        stages += _expand(where, key, entry | {"params": _declared(where, entry, params)}, values)
    for stage in stages:
        if not (root / stage.notebook).is_file():
            hint = did_you_mean(Path(stage.notebook).stem, [path.stem for path in (root / "notebooks").glob("*.ipynb")])
            raise UsageError(f"pipelines/{name}.yaml: stage {stage.name}: no {stage.notebook}; {hint}")
    return _ordered(_linked(stages, name), name)


def select(stages: list[Stage], only: list[str] | None) -> list[Stage]:
    """The stages named by `only` (a stage, or one instance such as train-BTCUSDT) and everything they need; None: all."""
    if only is None:
        return stages
    for name in only:
        if not any(name in (stage.id, stage.name) for stage in stages):
            raise UsageError(f"stage {name!r}: unknown; {did_you_mean(name, {stage.name for stage in stages})}")
    wanted = {stage.id for stage in stages if stage.id in only or stage.name in only}
    for stage in reversed(stages):
        wanted |= set(stage.needs) if stage.id in wanted else set()
    return [stage for stage in stages if stage.id in wanted]


def _read(name: str, root: Path) -> dict[str, dict]:
    known = sorted(path.stem for path in (root / "pipelines").glob("*.yaml"))
    if name not in known:
        raise UsageError(f"pipeline {name!r}: no pipelines/{name}.yaml; {did_you_mean(name, known)}")
    try:
        table = yaml.safe_load((root / "pipelines" / f"{name}.yaml").read_text())
    except yaml.YAMLError as error:
        raise UsageError(f"pipelines/{name}.yaml: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(table, dict) or list(table) != ["stages"] or not isinstance(table["stages"], dict):
        raise UsageError(f"pipelines/{name}.yaml: expected one top-level key `stages` with a mapping of stages")
    return table["stages"]


def _expand(where: str, name: str, entry: Any, values: dict[str, list[str]]) -> list[Stage]:
    """The instances of one entry of the table."""
    loops = _as_list(entry.get("foreach"))
    if not set(loops) <= set(LOOPS):
        raise UsageError(f"{where}: foreach: unknown variable {_odd(loops, LOOPS)!r}; {did_you_mean(_odd(loops, LOOPS), LOOPS)}")
    sections = _as_list(entry.get("params"))
    if not set(sections) <= set(Params.model_fields):
        wrong = _odd(sections, Params.model_fields)
        raise UsageError(f"{where}: params: unknown section {wrong!r}; {did_you_mean(wrong, Params.model_fields)}")
    return [
        _instance(where, name, entry, dict(zip(loops, chosen)), values) for chosen in itertools.product(*(values[loop] for loop in loops))
    ]


def _declared(where: str, entry: dict, params: Params) -> list[str]:
    """The sections of `params`, and those of `when` that count with these parameters."""
    sections = _as_list(entry.get("params"))
    for switch, more in entry.get("when", {}).items():
        section, _, key = str(switch).partition(".")
        known = section in sections and section in Params.model_fields
        if not known or key not in type(getattr(params, section)).model_fields:
            raise UsageError(f"{where}: when: expected section.key of a section in its params, found {switch!r}")
        if getattr(getattr(params, section), key):
            sections = list(dict.fromkeys([*sections, *_as_list(more)]))
    return sections


def _check_entry(where: str, name: str, entry: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise UsageError(f"{where}: a stage's name must be letters, digits and _")
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: expected a mapping with {', '.join(KEYS)}")
    for key in entry:
        if key not in KEYS:
            raise UsageError(f"{where}: unknown key {key!r}; {did_you_mean(key, KEYS)}")
    if not isinstance(entry.get("notebook"), str):
        raise UsageError(f"{where}: notebook: expected the name of a notebook such as 03_features")
    if not isinstance(entry.get("outputs"), dict) or not entry["outputs"]:
        raise UsageError(f"{where}: outputs: expected a mapping of names to paths")
    if not isinstance(entry.get("when", {}), dict):
        raise UsageError(f"{where}: when: expected a mapping of section.key to lists of sections")
    if not isinstance(entry.get("inputs", {}), dict):
        raise UsageError(f"{where}: inputs: expected a mapping of names to paths")
    for key in ("foreach", "params"):
        words = _as_list(entry.get(key))
        if not all(isinstance(word, str) for word in words) or len(set(words)) < len(words):
            raise UsageError(f"{where}: {key}: expected a name or a list of different names, found {entry[key]!r}")
    if not isinstance(entry.get("clock", False), bool):
        raise UsageError(f"{where}: clock: expected true or false")


def _instance(where: str, name: str, entry: dict, loop: dict[str, str], values: dict[str, list[str]]) -> Stage:
    inputs = {key: _fill_input(f"{where}: input {key}", value, loop, values) for key, value in entry.get("inputs", {}).items()}
    outputs = {key: _fill(f"{where}: output {key}", value, loop) for key, value in entry["outputs"].items()}
    names = [*loop, *inputs, *outputs, "params"]
    for key in names:
        if not str(key).isidentifier() or names.count(key) > 1:
            raise UsageError(f"{where}: {key!r} must be one Python name, used once among foreach, inputs, outputs and `params`")
    return Stage(
        "-".join([name, *loop.values()]),
        name,
        f"notebooks/{entry['notebook']}.ipynb",
        loop,
        tuple(_as_list(entry.get("params"))),
        inputs,
        outputs,
        entry.get("clock", False),
    )


def _fill_input(where: str, value: Any, loop: dict[str, str], values: dict[str, list[str]]) -> str | list[str]:
    """A path, or, where a placeholder is left open by foreach, the paths for all its values."""
    unbound = [key for key in _placeholders(where, value, (*LOOPS, *LISTS)) if key not in loop]
    if not unbound:
        return _fill(where, value, loop)
    choices = itertools.product(*(values[key] for key in unbound))
    return [_fill(where, value, loop | dict(zip(unbound, chosen))) for chosen in choices]


def _fill(where: str, pattern: Any, loop: dict[str, str]) -> str:
    _placeholders(where, pattern, loop)
    path = pattern.format(**loop)
    if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise UsageError(f"{where}: expected a path inside the workspace, found {path!r}")
    return PurePosixPath(path).as_posix()


def _placeholders(where: str, pattern: Any, known) -> list[str]:
    """Names in braces, in order, each once."""
    if not isinstance(pattern, str):
        raise UsageError(f"{where}: expected a path, found {pattern!r}")
    try:
        used = list(dict.fromkeys(field for _, field, _, _ in string.Formatter().parse(pattern) if field is not None))
    except ValueError as error:
        raise UsageError(f"{where}: {pattern!r}: {error}") from None
    if not set(used) <= set(known):
        hint = did_you_mean(_odd(used, known), known) if known else "this stage has no foreach"
        raise UsageError(f"{where}: unknown placeholder {{{_odd(used, known)}}} in {pattern!r}; {hint}")
    return used


def _linked(stages: list[Stage], pipeline: str) -> list[Stage]:
    """Each stage with the stages that write what it reads."""
    writer: dict[str, Stage] = {}
    for stage in stages:
        for path in stage.outputs.values():
            clash = next((other for other in writer if overlap(path, other)), None)
            if clash is not None:
                raise UsageError(f"pipelines/{pipeline}.yaml: stages {writer[clash].id} and {stage.id} both write {path}")
            writer[path] = stage
    return [replace(stage, needs=_writers(stage, writer)) for stage in stages]


def _writers(stage: Stage, writer: dict[str, Stage]) -> tuple[str, ...]:
    """Ids of the stages that write an input, a file inside an input folder, or the folder an input lies in."""
    return tuple(dict.fromkeys(writer[made].id for path in stage.input_paths() for made in writer if overlap(path, made)))


def overlap(path: str, other: str) -> bool:
    """The same path, or one inside the other."""
    return PurePosixPath(path).is_relative_to(other) or PurePosixPath(other).is_relative_to(path)


def _ordered(stages: list[Stage], pipeline: str) -> list[Stage]:
    by_id = {stage.id: stage for stage in stages}
    try:
        order = TopologicalSorter({stage.id: stage.needs for stage in stages}).static_order()
        return [by_id[key] for key in order]
    except CycleError as error:
        raise UsageError(f"pipelines/{pipeline}.yaml: stages wait for each other: {' -> '.join(error.args[1])}") from None


def _as_list(value: Any) -> list:
    return [] if value is None else value if isinstance(value, list) else [value]


def _odd(found, known) -> Any:
    return next(value for value in found if value not in known)

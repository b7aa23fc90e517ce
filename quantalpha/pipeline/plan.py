"""A pipeline as it stands on disk now, read and checked before anything runs."""

from dataclasses import dataclass
from pathlib import Path

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.pipeline import cache, graph, notebook
from quantalpha.pipeline.digests import Digests
from quantalpha.pipeline.folder import Folder
from quantalpha.pipeline.graph import Stage


@dataclass(frozen=True)
class Plan:
    """Stages in an order in which each comes after those it needs."""

    name: str
    profile: str
    root: Path
    params: config.Params
    stages: list[Stage]
    notebooks: dict[str, notebook.Notebook]
    folder: Folder
    digests: Digests

    def parts(self, stage: Stage) -> cache.Parts:
        """What the result of `stage` depends on, as it is now."""
        return cache.parts(stage, self.notebooks[stage.notebook], self.params, self.digests, self.root)

    def stale_reasons(self, stage: Stage) -> list[str]:
        """Why `stage` must run; empty: it need not."""
        return cache.stale_reasons(self.folder.read("state", stage.id), self.parts(stage), stage, self.digests, self.root)


def load(name: str, profile: str = "default", overrides=(), only: str | list[str] | None = None) -> Plan:
    """Reads table, parameters and notebooks. Raises UsageError naming the first fault."""
    root = config.root()
    params = config.load(profile, overrides)
    everything = graph.load(name, params, root)
    stages = graph.select(everything, [only] if isinstance(only, str) else only)
    notebooks = {path: notebook.read(root, path) for path in dict.fromkeys(stage.notebook for stage in stages)}
    for stage in stages:
        notebook.check_parameters(stage, notebooks[stage.notebook])
    folder = Folder(root, name)
    plan = Plan(name, profile, root, params, stages, notebooks, folder, Digests(folder.read_json("hashes.json", {})))
    _check_inputs(plan)
    return plan


def _check_inputs(plan: Plan) -> None:
    """Every input that no stage writes is there, and every feature is known; raises UsageError naming the first that is not."""
    if any("features" in stage.sections for stage in plan.stages):
        from quantalpha.features import registry

        registry.check(plan.params.features, plan.params.data.timeframe)
    made = [path for stage in plan.stages for path in stage.outputs.values()]
    for stage in plan.stages:
        for path in stage.input_paths():
            if not (plan.root / path).exists() and not any(graph.overlap(path, other) for other in made):
                raise UsageError(f"pipelines/{plan.name}.yaml: stage {stage.id}: input {path} does not exist and no stage writes it")

"""What a run depended on and left, then and now: the verdict of `reproduce`."""

from dataclasses import asdict, dataclass
from pathlib import Path

from quantalpha.errors import ReconcileError
from quantalpha.pipeline import compare
from quantalpha.pipeline.digests import Digests
from quantalpha.tracking import RunInfo

SAME, WITHIN, DIFFERS, MISSING = "same bits", "within tolerance", "differs", "missing"


@dataclass(frozen=True)
class Input:
    """Something a run depended on, as it was recorded and as it is now; `note` says more."""

    name: str
    recorded: str
    found: str
    note: str = ""

    @property
    def same(self) -> bool:
        return self.recorded == self.found

    def row(self) -> dict:
        """One row of a table."""
        return {"input": self.name, "recorded": self.recorded, "now": self.found, "": self.note or ("same" if self.same else "changed")}


@dataclass(frozen=True)
class Output:
    """One output of a stage, made again. recorded, found: sha256; verdict: SAME, WITHIN, DIFFERS or MISSING; largest: the widest gap as a
    share of the number's scale, None where no number can say; note: where it is."""

    stage: str
    path: str
    recorded: str
    found: str | None
    verdict: str
    largest: float | None
    note: str

    @property
    def agrees(self) -> bool:
        return self.verdict in (SAME, WITHIN)


@dataclass(frozen=True)
class Reproduction:
    """A run made again."""

    run: RunInfo
    inputs: list[Input]
    outputs: list[Output]
    seconds: float

    def to_dict(self) -> dict:
        named = {"run_id": self.run.run_id, "run": self.run.name, "reproduced": not self.lost(), "seconds": round(self.seconds, 1)}
        inputs = [asdict(each) | {"same": each.same} for each in self.inputs]
        return named | {"inputs": inputs, "outputs": [asdict(each) for each in self.outputs]}

    def lost(self) -> list[Output]:
        """The outputs that did not come out again."""
        return [each for each in self.outputs if not each.agrees]

    def rows(self) -> list[dict]:
        """One row of a table for each stage; of its outputs the first that is not what it was."""
        return [_row(name, [each for each in self.outputs if each.stage == name]) for name in dict.fromkeys(o.stage for o in self.outputs)]

    def refuse(self) -> None:
        """Raises ReconcileError where an output did not come out again; it names what changed, or the likely cause."""
        if self.lost():
            count = f"{len(self.lost())} of {len(self.outputs)} outputs did not come out again, first {self.lost()[0].path}"
            raise ReconcileError(f"run {self.run.name}: {count}; {_cause([each for each in self.inputs if not each.same])}")


def judged(stage: str, path: str, recorded: str, made: tuple[str, Path], kept: tuple[list[Path], float]) -> Output:
    """An output that was made again. made: its sha256 and where it lies; kept: where the run's own may still lie, and the tolerance."""
    (found, place), (copies, allowed) = made, kept
    if recorded == found:
        return Output(stage, path, recorded, found, SAME, 0.0, "")
    copy = next((each for each in copies if Digests().path(each) == recorded), None)
    if copy is None:
        return Output(stage, path, recorded, found, DIFFERS, None, "by its hash; no copy of the run's own is left to measure it by")
    gaps = compare.gaps(copy, place)
    if not gaps:
        return Output(stage, path, recorded, found, SAME, 0.0, "but for the hash of the whole package, of which the stage uses a part")
    more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
    return Output(stage, path, recorded, found, WITHIN if compare.within(gaps, allowed) else DIFFERS, gaps[0].measured, f"{gaps[0]}{more}")


def _row(stage: str, outputs: list[Output]) -> dict:
    odd = next((each for each in outputs if not each.agrees), next((each for each in outputs if each.note), outputs[0]))
    agreeing = sum(each.agrees for each in outputs)
    return {"stage": stage, "outputs": f"{agreeing} of {len(outputs)}", "": odd.verdict, "where": odd.note}


def _cause(changed: list[Input]) -> str:
    if not changed:
        return "no recorded input changed, so a notebook is not determined by them (the time, random numbers without a seed, the network)"
    told = ", ".join(f"{each.name} ({each.note or f'{each.recorded} -> {each.found}'})" for each in changed)
    if all(each.name == "cpu" for each in changed):
        return f"only the processor changed: {told}; LightGBM's last digits depend on its mathematical functions"
    return f"since then: {told}"

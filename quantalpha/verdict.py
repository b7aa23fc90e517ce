"""When a gate's report lets a model trade: every line passed, or a person overrode it and said why.

Asked of gate.json when a bundle is sealed and again whenever one is loaded.
"""

from quantalpha.errors import GateRefused

# No one may override these. The other lines judge a model, and a person may judge otherwise; these say that there is something to judge.
INTEGRITY = {
    "market_named": "it would trade another market than it was judged on",
    "holdout_sealed": "bars that research has seen cannot be sealed again",
    "real_data": "nobody has traded what it was judged on",
    "auto_from_training": "its features were fitted on bars that judge it",
    "features_causal": "its features use what is not known yet",
    "labels_known": "its training reached into its tests",
    "choices_searched": "nobody knows where its hyper-parameters come from",
    "model_saw_no_test": "it was trained on what it is judged by",
    "live_columns": "no live bar has what its features read",
    "forecasts_reproduce": "what was judged is not what these bars and parameters give",
    "replay_identical": "the runner does not do what was judged",
    "bundle_roundtrip": "what would trade is not what was judged",
}
WORDS = {"time", "who", "reason"}  # of an override


def stands(line: dict) -> bool:
    """Whether a line of gate.json stands in nobody's way: it passed, or failed and was overridden as it may be."""
    if "override" not in line:
        return line["passed"] is True
    return line["passed"] is False and line["name"] not in INTEGRITY and _told(line["override"])


def require(gate: dict, where: str) -> None:
    """GateRefused unless the report says it passed, and all of its lines stand."""
    failed = [_fault(line) for line in gate["lines"] if not stands(line)]
    if gate["passed"] is not True or failed or not gate["lines"]:
        raise GateRefused(f"{where}: a bundle needs a gate that passed; failed: {', '.join(failed) or 'nothing was judged'}")


def overridden(gate: dict) -> list[dict]:
    """Each overridden line: name, time, who, reason."""
    return [{"name": line["name"]} | line["override"] for line in gate["lines"] if "override" in line]


def _told(override) -> bool:
    return isinstance(override, dict) and set(override) == WORDS and all(str(word).strip() for word in override.values())


def _fault(line: dict) -> str:
    if "override" not in line:
        return line["name"]
    why = INTEGRITY.get(line["name"], "an override is of a failed line, and says who, when and why")
    return f"{line['name']} (its override is not valid: {why})"

"""What a forger does to a sealed bundle: edit a part, then the manifest, so that the folder is consistent in itself."""

import json
from collections.abc import Callable
from pathlib import Path

from quantalpha.files import sha256

Edit = Callable[[Path, dict], object]  # of the folder and its manifest


def reseal(folder: Path, edit: Edit) -> Path:
    """Changes the manifest too, and gives the folder the new hash as its name."""
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(folder, manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder.rename(folder.parent / sha256(folder / "manifest.json"))


def rewrite(name: str, change: Callable[[dict], object]) -> Edit:
    """Edits one JSON file and puts its new hash into the manifest."""

    def edit(folder: Path, manifest: dict) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))
        manifest["files"][name] = sha256(folder / name)

    return edit


def swap(source: Path, *names: str) -> Edit:
    """Puts another bundle's files in the place of these."""

    def edit(folder: Path, manifest: dict) -> None:
        for name in names:
            (folder / name).write_bytes((source / name).read_bytes())
            manifest["files"][name] = sha256(folder / name)

    return edit

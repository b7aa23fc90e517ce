"""sha256 of files and folders, each file read once."""

import time
from pathlib import Path

from quantalpha.files import sha256, tree_sha256

SETTLED_NS = 2_000_000_000  # a file touched this recently may change again within one tick of its clock: do not remember it


class Digests:
    """sha256 of files and folders; each file is read once until its size, times or inode change. `known` is an earlier `content()`."""

    def __init__(self, known: dict[str, list] | None = None):
        self._known = dict(known) if known is not None else {}

    def file(self, path: Path) -> str:
        """sha256, hex."""
        stat = path.stat()
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known.get(str(path))
        if known is not None and known[0] == mark:
            return known[1]
        digest = sha256(path)
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS:
            self._known[str(path)] = [mark, digest]
        return digest

    def path(self, path: Path) -> str | None:
        """sha256 of a file, or of a folder's names and contents (hidden files apart); None where there is nothing."""
        if path.is_dir():
            return tree_sha256(path, self.file)
        return self.file(path) if path.is_file() else None

    def content(self) -> dict:
        """What is worth keeping for the next run."""
        return {path: entry for path, entry in self._known.items() if Path(path).exists()}

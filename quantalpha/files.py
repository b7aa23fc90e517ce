"""Files that are whole or not there, and their hashes."""

import csv
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantalpha.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def write_atomic(path: Path, data: bytes | str | Iterable[bytes]) -> Path:
    """All of `data` (whole or in pieces) under `path`, or nothing: temporary name in its folder, fsync, rename, fsync of the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines([data.encode() if isinstance(data, str) else data] if isinstance(data, (bytes, str)) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return path


@contextmanager
def locked(folder: Path, patience: float | None = None) -> Iterator[None]:
    """The block has `folder` to itself among all processes of this machine that ask; others wait. Not to be nested.

    patience: seconds after which nobody waits any more for one that hangs, and the block runs beside it; None: forever.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _wait_for(handle, patience)
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, patience: float | None) -> None:
    if patience is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.001)


@contextmanager
def sole(path: Path) -> Iterator[bool]:
    """Whether the block holds the file `path` alone among all processes of this machine that ask; nobody waits. The lock goes with the
    process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Force a file, or a folder's list of names, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Hash of a file's bytes, hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: Path, of: Callable[[Path], str] = sha256) -> str:
    """Hash of a folder's names and contents (hidden files apart), hex. of: the hash of one file."""
    files = [file for file in Path(folder).rglob("*") if file.is_file() and file.name[0] != "."]
    return digest_of({file.relative_to(folder).as_posix(): of(file) for file in files})


def digest_of(value: Any) -> str:
    """sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_parquet(source: Path | bytes) -> "pd.DataFrame":
    """The table of a parquet file or of its bytes; OSError or ValueError where it is none.

    pandas.read_parquet leaves a thread of Arrow's behind, and a process that ends meanwhile is aborted after its work was done
    (apache/arrow issue 33975; 1 in 5 of processes that read thirty small files). On this thread alone none is.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).to_pandas(use_threads=False)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None


def check_last_line(path: Path, reach: int = 1 << 16) -> None:
    """DataError where the last line of a text table has fewer cells than the one before: the file was cut off while it was written."""
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - reach))
        lines = [line.decode(errors="replace") for line in file.read().splitlines() if line.strip()][-2:]
    cells = [[len(row) for row in csv.reader(lines, delimiter=mark)] for mark in ",;\t"]
    if len(lines) == 2 and any(last < before for before, last in cells):
        raise DataError(f"{path}: cut off: the last line has fewer cells than the one before; get the file again")


def read_json(path: Path, *keys: str) -> dict:
    """The JSON object of a file with at least these keys, or DataError naming file and key."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path.parent.name[:24]}: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path.parent.name[:24]}/{path.name}: cannot be read: {error}") from None
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise DataError(f"{path.parent.name[:24]}/{path.name}: {missing[0]!r} is missing")
    return value

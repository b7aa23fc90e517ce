"""Where the archive's files come from: a folder laid out as the archive is, or a web site that serves it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, ClassVar, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.archive_files import CHECKSUM, MOST_ZIPPED
from quantalpha.market.archive_names import ArchiveFile, Series, days, file_of, series_of
from quantalpha.market.kinds import months

LOCAL = ("127.0.0.1", "localhost", "::1")
BLOCK = 1 << 18
TRIES = 4
SLOWEST = 20_000  # bytes a second; a download that stays below it for its whole length is given up
LONGEST_CHECKSUM = 4096  # bytes


class Source(Protocol):
    """What `import_archive` asks of a place. lists: whether it knows its files, or only which may be there."""

    lists: bool

    def all_series(self) -> list[Series]: ...

    def files(self, series: Series) -> list[ArchiveFile]:
        """Those that are, or may be, there; in order of time, a month before its days."""

    def checksum(self, file: ArchiveFile) -> str | None:
        """The text of its checksum file; None where there is none. FileNotFoundError: nor is there such a file."""

    def opened(self, file: ArchiveFile): ...


class Folder:
    """A folder anywhere in the archive's tree: everything below it that is named as the archive names it."""

    lists = True

    def __init__(self, root: Path):
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; name one that holds the archive's tree, such as .../data/futures/um, or its address")
        self.root, self.folders = root.resolve(), {}
        for folder, inner, _ in os.walk(self.root):
            inner.sort()
            if found := series_of(Path(folder).as_posix()):
                self.folders.setdefault(found[0], []).append(Path(folder))

    def all_series(self) -> list[Series]:
        return sorted(self.folders, key=lambda series: (series.market, series.symbol, series.kind))

    def files(self, series: Series) -> list[ArchiveFile]:
        places = self.folders.get(series.as_filed, [])
        found = {file_of(series, name) for place in places for name in os.listdir(place)} - {None}
        return sorted(found, key=lambda file: file.label)

    def checksum(self, file: ArchiveFile) -> str | None:
        path = self._path(file)
        beside = path.with_name(path.name + CHECKSUM)
        return beside.read_bytes()[:LONGEST_CHECKSUM].decode("ascii", "replace") if beside.is_file() else None

    @contextmanager
    def opened(self, file: ArchiveFile) -> Iterator[Path]:
        path = self._path(file)
        if path.stat().st_size > MOST_ZIPPED:
            raise DataError(f"{file.name}: {path.stat().st_size:,} bytes, more than any file of the archive; get it again")
        yield path

    def _path(self, file: ArchiveFile) -> Path:
        places = [place / file.name for place in self.folders[file.series.as_filed]]
        return next(path for path in places if path.is_file())


@dataclass
class Site:
    """An address such as https://data.binance.vision. It gives no list: what is not there yet answers 404.

    series: what is asked for. start, end: [start, end) in ms. timeout: seconds of silence after which a request is tried again.
    """

    base: str
    series: list[Series]
    start: int
    end: int
    timeout: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    lists: ClassVar[bool] = False

    def __post_init__(self):
        parts = urlsplit(self.base)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise UsageError(f"{self.base}: expected https://..., or a folder; a checksum fetched over plain http proves nothing")
        self._opener = build_opener(_NoRedirect, *([ProxyHandler({})] if parts.hostname in LOCAL else []))

    def all_series(self) -> list[Series]:
        return list(self.series)

    def files(self, series: Series) -> list[ArchiveFile]:
        labels = (label for month in months(self.start, self.end) for label in (month, *days(month)))
        return [file for file in map(series.file, labels) if file.exists_in_archive and file.overlaps(self.start, self.end)]

    def checksum(self, file: ArchiveFile) -> str | None:
        text = BytesIO()
        if self._ask(file.path + CHECKSUM, lambda reply: self._save(reply, text, LONGEST_CHECKSUM)):
            return text.getvalue().decode("ascii", "replace")
        if not self._ask(file.path, lambda reply: None, method="HEAD"):
            raise FileNotFoundError(file.name)
        return None

    @contextmanager
    def opened(self, file: ArchiveFile) -> Iterator[Path]:
        with TemporaryDirectory(prefix="quantalpha-") as folder:
            path = Path(folder) / file.name
            with path.open("wb") as kept:
                if not self._ask(file.path, lambda reply: self._save(reply, kept, MOST_ZIPPED)):
                    raise FileNotFoundError(file.name)
            yield path

    def _ask(self, path: str, take: Callable, method: str = "GET") -> bool:
        """Hands the reply to `take`, anew while the site is silent, overloaded or breaks off; False: it says there is no such file."""
        url = f"{self.base.rstrip('/')}/{path}"
        for attempt in range(TRIES):
            if attempt:
                self.sleep(2.0**attempt)
            try:
                with self._opener.open(Request(url, method=method, headers={"User-Agent": "quantalpha"}), timeout=self.timeout) as reply:
                    take(reply)
                    return True
            except HTTPError as error:
                if error.code == 404:
                    return False
                last = error
                if error.code < 500 and error.code not in (408, 418, 425, 429):
                    break
            except (URLError, HTTPException, OSError) as error:
                last = error
        if isinstance(last, IncompleteRead):
            raise DataError(f"{path.rpartition('/')[2]}: broken off each of {TRIES} times, {last.expected:,} bytes before its end")
        why = str(getattr(last, "reason", "") or last) or type(last).__name__
        raise ExchangeError(f"{url}: no usable answer ({why}); check the network and the address, then run again: what is stored stays")

    def _save(self, reply, into: BinaryIO, most: int) -> None:
        """All that was announced, in the time a slow line needs for it, and no more than `most` bytes."""
        into.seek(0)
        into.truncate()
        size, begun, announced = 0, time.monotonic(), reply.headers.get("Content-Length")
        while block := reply.read1(BLOCK):
            size += len(block)
            if size > most:
                raise DataError(f"{urlsplit(reply.url).path.rpartition('/')[2]}: more than {most:,} bytes came; no file of the archive has")
            if time.monotonic() - begun > self.timeout + size / SLOWEST:
                raise TimeoutError(f"{size:,} bytes in {time.monotonic() - begun:.0f} s")
            into.write(block)
        if announced is not None and size != int(announced):
            raise IncompleteRead(b"", int(announced) - size)


class _NoRedirect(HTTPRedirectHandler):
    """The archive has none, and one to plain http would undo what https proves."""

    def redirect_request(self, *_):
        return None

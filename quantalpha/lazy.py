"""What is loaded late, and how: `quantalpha kill` must not wait for what only a session or a notebook needs."""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module


def exports(package: str, modules: Mapping[str, Iterable[str]]) -> tuple[list[str], Callable[[str], object], Callable[[], list[str]]]:
    """The `__all__`, `__getattr__` and `__dir__` of a package whose names are loaded when they are asked for.

    modules: the public names of each of its modules, by the module's full name, so that `pipeline.sources` sees what depends on what. None
    has the name of a module: Python itself gives that name to the module once it is loaded.
    """
    places = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(places[name]), name)

    return list(places), get, lambda: sorted(places)


@contextmanager
def loading(library: str) -> Iterator[None]:
    """The garbage collector sleeps while a large library is imported, and leaves it alone for ever after: it would walk hundreds of classes
    again and again, and once more when the process ends, which takes as long as importing them."""
    first, collects = library not in sys.modules, gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        if collects:
            gc.enable()

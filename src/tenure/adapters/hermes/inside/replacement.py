"""Replacement of functions in modules: in loaded ones at once, in others when they load."""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

log = logging.getLogger("tenure.hermes")

MARK = "__tenure__"
Patches = Mapping[str, Callable[[Any], None]]


def original_of(function: Any) -> Any:
    """The function that a replacement replaces; any other function itself."""
    return getattr(function, MARK, function)


def replace(owner: Any, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
    """Replace a function, once. A name that does not exist is left out."""
    original = getattr(owner, name, None)
    if original is None or hasattr(original, MARK):
        return
    wrapped = functools.wraps(original)(make(original))
    setattr(wrapped, MARK, original)
    setattr(owner, name, wrapped)


def install(patches: Patches) -> None:
    """Patch loaded modules at once, others when they load. A second call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(patches))
    loaded = [name for name in patches if sys.modules.get(name) is not None]
    for name in loaded:
        module = sys.modules[name]
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            _when_loaded(name, patches[name])
        else:
            patches[name](module)
    if loaded:
        rebind(loaded)


def rebind(names: Sequence[str]) -> None:
    """Replace them in other modules too, which imported them before (``from x import y``)."""
    new: dict[int, Any] = {}
    for name in names:
        for value in vars(sys.modules[name]).values():
            if isinstance(value, FunctionType) and hasattr(value, MARK):
                new[id(original_of(value))] = value
    for module in list(sys.modules.values()):
        namespace = getattr(module, "__dict__", {})
        for key in [key for key, value in list(namespace.items()) if id(value) in new]:
            namespace[key] = new[id(namespace[key])]


def _when_loaded(name: str, patch: Callable[[Any], None]) -> None:
    # It loads at this moment, perhaps on this thread: only another thread can wait for it.
    def wait() -> None:
        try:
            patch(importlib.import_module(name))
            rebind([name])
        except Exception:
            log.exception("%s could not be patched", name)

    threading.Thread(target=wait, name="tenure-hermes-patch", daemon=True).start()


class _Finder(importlib.abc.MetaPathFinder):
    """Patches a module when it is loaded."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = self._patches.get(name)
        if patch is None:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = (
                find(name, path, target) if find is not None else None
            )
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, patch)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, patch: Callable[[Any], None]) -> None:
        self._loader = loader
        self._patch = patch

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._patch(module)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)

"""Tenure's plugin for Hermes Agent, as a folder. Written by `tenure hermes adopt`; do not edit.

It loads Tenure from Hermes' environment if it is installed there, else from the copy in this home.
If neither works, this process may not run cron jobs of an adopted home, or ask for runs: only
the owner may.
"""

import functools
import importlib
import importlib.abc
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("tenure.hermes")

REFUSED = {
    "cron.scheduler": ("tick", "run_job", "run_one_job"),
    "cron.jobs": ("trigger_job", "claim_job_for_fire"),
    "tools.cronjob_tools": ("_execute_job_now",),
}
"""The functions that run a job, or ask for a run, and that the fence does not stop."""


def register(ctx: Any) -> None:
    """Called by Hermes when it loads its plugins."""
    try:
        _tenure()(ctx)
    except Exception as error:  # noqa: BLE001  then nothing may run
        why = f"Tenure cannot be loaded here ({type(error).__name__}: {error})"
        log.error("%s, so this process runs no cron job", why)
        _refuse_all(f"refused: {why}; run: tenure hermes status")


def _tenure() -> Callable[[Any], None]:
    try:
        from tenure.adapters.hermes.plugin import register as found
    except Exception as error:  # an older one, a broken one, none
        for name in [n for n in sys.modules if n == "tenure" or n.startswith("tenure.")]:
            del sys.modules[name]
        copy = Path(__file__).resolve().parents[2] / "tenure" / "lib"
        if not (copy / "tenure").is_dir():
            raise
        log.info("Tenure is taken from %s: %s", copy, error)
        sys.path.insert(0, str(copy))  # before the one that did not work
        try:
            from tenure.adapters.hermes.plugin import register as found
        finally:
            sys.path.remove(str(copy))
            sys.path.append(str(copy))
    return found


def _refuse_all(why: str) -> None:
    """Patch the modules that are loaded, and others when they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(why))
    for name in REFUSED:
        module = sys.modules.get(name)
        if module is None:
            continue
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            # It loads at this moment, perhaps on this thread: wait for it on another.
            threading.Thread(target=_patch_loaded, args=(name, why), daemon=True).start()
        else:
            _patch_loaded(name, why)


def _patch_loaded(name: str, why: str) -> None:
    """A module, and what others have taken from it by name."""
    new = _patch(importlib.import_module(name), why)
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        for key in [key for key, value in list(names.items()) if id(value) in new]:
            names[key] = new[id(names[key])]


def _patch(module: Any, why: str) -> dict[int, Any]:
    """By the identity of what was there: what is there now."""
    new = {}
    for name in REFUSED[module.__name__]:
        original = getattr(module, name, None)
        if original is not None and not hasattr(original, "__refused__"):
            refuse = _ticking(original, why) if name == "tick" else _refusing(original, why)
            refuse.__refused__ = original  # type: ignore[attr-defined]
            setattr(module, name, refuse)
            new[id(original)] = refuse
    return new


def _refusing(original: Any, why: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def refuse(*args: Any, **kwargs: Any) -> Any:
        if not _adopted():
            return original(*args, **kwargs)
        log.error("%s", why)
        raise RuntimeError(why)

    return refuse


def _ticking(original: Any, why: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def tick(*args: Any, **kwargs: Any) -> Any:
        if not _adopted():
            return original(*args, **kwargs)
        typed = kwargs.get("verbose", args[0] if args else True)
        typed = typed and kwargs.get("sync", args[3] if len(args) > 3 else True)
        if typed and threading.current_thread() is threading.main_thread():
            print(why, flush=True)
            raise SystemExit(3)
        return 0

    return tick


def _adopted() -> bool:
    """Whether the current home is adopted; a dashboard works on others too."""
    jobs: Any = importlib.import_module("cron.jobs")
    current = getattr(jobs, "_current_cron_store", None)
    folder = Path(current().cron_dir if current is not None else jobs.CRON_DIR)
    return (folder.parent / "tenure" / "adoption.json").exists()


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, why: str) -> None:
        self._why = why
        self._busy = threading.local()

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in REFUSED or getattr(self._busy, "now", False):
            return None
        self._busy.now = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._busy.now = False
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                _patch(module, self._why)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

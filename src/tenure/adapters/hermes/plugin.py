"""The plugin that Hermes loads, in each of its processes.

Hermes finds it as the entry point ``tenure`` where Tenure is installed in its environment, or
through the folder plugin that adoption writes, and calls :func:`register`. Loading it decides
nothing: each call checks whether the current home is adopted.
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from tenure.adapters.hermes.inside.patches import PATCHES, hosts
from tenure.adapters.hermes.inside.replacement import install

_registered = False


def register(ctx: Any = None) -> None:
    """Called by Hermes, once or again. Thread-safe as the loading of plugins is."""
    global _registered
    install(PATCHES)
    if _registered:
        return
    _registered = True
    atexit.register(hosts.close)
    os.register_at_fork(after_in_child=hosts.forget_in_child)

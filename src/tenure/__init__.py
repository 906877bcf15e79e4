"""Tenure: a job scheduler in which each profile has one owner.

The owner is the process chain that the user named. Other processes can view, edit, pause and
request runs; only the owner executes them, and every run records which process executed it.

:class:`Tenure` is the library, :mod:`tenure.aio` the same for an event loop, :mod:`tenure.models`
what it returns, :mod:`tenure.errors` what it raises.

Importing this package loads nothing but itself: the names below are loaded when first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is half of what importing this would cost
if TYPE_CHECKING:
    from typing import Any

    from tenure.domain.errors import RunFailed, TenureError
    from tenure.library import Tenure, at, cron, every
    from tenure.runtime.run_context import Context, Fence, fence

__version__ = "0.2.0"
__all__ = [
    "Context",
    "Fence",
    "RunFailed",
    "Tenure",
    "TenureError",
    "__version__",
    "at",
    "cron",
    "every",
    "fence",
]


def __getattr__(name: str) -> Any:
    if name in ("Tenure", "at", "cron", "every"):
        from tenure import library

        return getattr(library, name)
    if name in ("TenureError", "RunFailed"):
        from tenure.domain import errors

        return getattr(errors, name)
    if name in ("Context", "Fence", "fence"):
        from tenure.runtime import run_context

        return getattr(run_context, name)
    raise AttributeError(f"module 'tenure' has no attribute {name!r}")

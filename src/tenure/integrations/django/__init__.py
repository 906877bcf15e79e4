"""Django: put ``"tenure.integrations.django"`` into ``INSTALLED_APPS``, and jobs into ``jobs.py``.

::

    # settings.py
    TENURE = {"profile": "shop"}        # what tenure.Tenure takes

    # any app's jobs.py
    from tenure import cron
    from tenure.integrations.django import tenure

    @tenure.job(cron("0 3 * * *"))
    def nightly_report(): ...

The scheduler starts in processes that serve, when they make their WSGI or ASGI handler: not in
``migrate``, ``shell``, tests or any other command, nor in the parent of runserver's reloader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure.library import Tenure

    tenure: Tenure

__all__ = ["tenure"]
_made: Tenure | None = None


def __getattr__(name: str) -> Any:
    """``tenure``, made from the settings when it is first used."""
    global _made
    if name != "tenure":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _made is None:
        from django.conf import settings

        from tenure.library import Tenure

        _made = Tenure(**getattr(settings, "TENURE", {}))
    return _made

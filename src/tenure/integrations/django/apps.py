"""The Django app: finds the jobs, and starts the scheduler where requests are served."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from django.apps import AppConfig
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.utils.module_loading import autodiscover_modules

log = logging.getLogger("tenure")


class TenureConfig(AppConfig):  # type: ignore[misc,unused-ignore]
    name = "tenure.integrations.django"
    label = "tenure"
    verbose_name = "Tenure"
    default = True

    def ready(self) -> None:
        """Every app's ``jobs`` module is loaded; the scheduler waits for a handler."""
        autodiscover_modules("jobs")
        for handler in (WSGIHandler, ASGIHandler):
            _start_with(handler)


def _start_with(handler: Any) -> None:
    """A process that serves makes one of these; the test client makes another kind."""
    original: Callable[..., None] = handler.__init__
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _start()

    handler.__init__ = made


def _start() -> None:
    if _in_a_test():
        return
    from tenure.integrations.django import tenure

    try:
        tenure.start()
    except Exception:  # the site is served all the same
        log.exception("pid %s could not join", os.getpid())


def _in_a_test() -> bool:
    """Between Django's setup_test_environment and its teardown."""
    from django.test import utils

    return hasattr(utils._TestState, "saved_data")

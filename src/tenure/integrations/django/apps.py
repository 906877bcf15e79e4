"""The Django app: finds the jobs, and starts the scheduler where requests are served.

A process that serves makes a WSGI or ASGI handler; but so does a script that only sets Django up
by ``get_wsgi_application()``, and a worker of a task queue that imports ``wsgi.py``. So with the
handler it is asked whether this process serves.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from django.apps import AppConfig
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.utils.module_loading import autodiscover_modules

from tenure.runtime.hosting.servers import ServerDetector

log = logging.getLogger("tenure")

_HANDLERS = (WSGIHandler, ASGIHandler)


class TenureConfig(AppConfig):  # type: ignore[misc,unused-ignore]
    name = "tenure.integrations.django"
    label = "tenure"
    verbose_name = "Tenure"
    default = True

    def ready(self) -> None:
        """Every app's ``jobs`` module is loaded; the scheduler waits for a handler."""
        autodiscover_modules("jobs")
        for handler in _HANDLERS:
            _start_with(handler)
        request_started.connect(_notice_request, dispatch_uid="tenure")


def _start_with(handler: Any) -> None:
    """A process that serves makes one of these; the test client makes another kind."""
    original: Callable[..., None] = handler.__init__
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if (detector := _detector()) is not None:
            detector.begin()

    handler.__init__ = made


def _notice_request(sender: type[Any], **_: object) -> None:
    """For servers that are not known; Django's test client is a sender of another kind."""
    if issubclass(sender, _HANDLERS) and (detector := _detector()) is not None:
        detector.notice_request()


def _detector() -> ServerDetector | None:
    """None in a test, and where this process could not join."""
    from django.test import utils

    if hasattr(utils._TestState, "saved_data"):  # since Django's setup_test_environment
        return None
    try:
        from tenure.integrations.django import tenure

        return tenure._start_once_served()
    except Exception:  # the site is served all the same
        log.exception("pid %s could not join", os.getpid())
        return None

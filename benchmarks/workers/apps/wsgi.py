"""A WSGI application with a scheduler that is started when its module is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import beat

beat.start()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

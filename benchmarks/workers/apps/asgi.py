"""FastAPI, Starlette and Litestar applications with a scheduler in their lifespan."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import beat


@contextlib.asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    beat.start()
    yield
    beat.stop()


lifespan = beat.tenure.lifespan if beat.tenure is not None else _lifespan


def __getattr__(name: str) -> Any:
    """``asgi:fastapi`` and so on: each loads its own framework only."""
    if name == "fastapi":
        from fastapi import FastAPI

        app = FastAPI(lifespan=lifespan)
        app.get("/")(os.getpid)
        return app
    if name == "starlette":
        from starlette.applications import Starlette

        return Starlette(lifespan=lifespan)
    if name == "litestar":
        from litestar import Litestar

        return Litestar(lifespan=[lifespan])
    raise AttributeError(name)

"""The API: a router a noun."""

from __future__ import annotations

from fastapi import APIRouter

from tenure.surfaces.web.api import events, jobs, owner, profiles, requests, runs, system


def routers() -> list[APIRouter]:
    """All of them, in the order of the OpenAPI description."""
    modules = (profiles, jobs, runs, requests, owner, events, system)
    return [module.router for module in modules]

"""The API: a router a noun."""

from __future__ import annotations

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """All of them; those with fixed paths before those that would match anything there."""
    from tenure.surfaces.web.api import (
        audit,
        events,
        health,
        job_states,
        jobs,
        metrics,
        output,
        owner,
        processes,
        profiles,
        requests,
        runs,
        schedules,
        status,
        types,
    )

    modules = (
        profiles, status, jobs, job_states, runs, output, requests, processes, owner, audit,
        events, schedules, types, metrics, health,
    )  # fmt: skip
    return [module.router for module in modules]

"""The page: HTML rendered from the store, readable and usable before any script has run.

A route looks (``frame``), gathers what it shows, and renders a template; what changes something
is a form that ends in a redirect. With a script the same pages keep themselves fresh:
``static/app.js`` asks for the page again when the server says that something changed, and swaps
in what differs.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tenure.surfaces.web import assets
from tenure.surfaces.web.deps import site
from tenure.surfaces.web.pages import (
    actions,
    job,
    job_editor,
    jobs,
    overview,
    owner,
    profiles,
    requests,
    run,
    runs,
)
from tenure.surfaces.web.pages.render import page
from tenure.surfaces.web.problems import Problem

router = APIRouter()
for part in (
    assets,
    profiles,
    overview,
    jobs,
    job_editor,
    job,
    runs,
    run,
    requests,
    owner,
    actions,
):
    router.include_router(part.router)


def problem_page(request: Request, found: Problem) -> Response:
    """What went wrong, as a page with the way on."""
    parts = request.url.path.split("/")
    name = parts[2] if parts[1] == "p" and len(parts) > 3 else ""
    known = getattr(request.state, "viewer", None) is not None
    return page(
        request,
        "problem.html",
        code=found.status,
        headers=found.headers,
        problem=found,
        place=name if known and name in site(request).names() else "",
    )


__all__ = ["problem_page", "router"]

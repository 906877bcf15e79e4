"""The page: HTML rendered from the store, readable and usable before any script has run.

A route gathers what it shows from its ``ProfileView`` and renders a template; what changes
something is a form that ends in a redirect. With a script the same pages keep themselves fresh:
``static/app.js`` asks for the page again when the server says that something changed, and swaps
in what differs.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tenure.surfaces.web import assets
from tenure.surfaces.web.pages import (
    actions,
    job_editor,
    jobs,
    overview,
    owner,
    profiles,
    requests,
    runs,
)
from tenure.surfaces.web.pages.render import page
from tenure.surfaces.web.problems import Problem
from tenure.surfaces.web.site import site_of

router = APIRouter()
# The editor before the jobs: /jobs/new is not the job "new".
for part in (assets, profiles, overview, job_editor, jobs, runs, requests, owner, actions):
    router.include_router(part.router)


def problem_page(request: Request, problem: Problem) -> Response:
    """What went wrong, as a page with the way on."""
    parts = request.url.path.split("/")
    name = parts[2] if parts[1] == "p" and len(parts) > 3 else ""
    known = getattr(request.state, "access", None) is not None
    return page(
        request,
        "problem.html",
        code=problem.status,
        headers=problem.headers,
        problem=problem,
        place=name if known and name in site_of(request).names() else "",
    )

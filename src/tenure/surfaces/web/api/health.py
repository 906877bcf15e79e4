"""For supervisors and balancers: does the process answer, can a store be read. No token."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tenure.domain.errors import TenureError
from tenure.surfaces.web.api.common import Reply
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.api.shapes.reports import Health
from tenure.surfaces.web.deps import SiteDep
from tenure.surfaces.web.problems import ProblemRaised, problem

router = APIRouter(tags=["operation"])
PUBLIC: dict[str, list[object]] = {"security": []}


@router.get("/healthz", response_model=Health, openapi_extra=PUBLIC)
async def get_health() -> Response:
    """The process answers."""
    return Reply({"status": "ok"})


@router.get("/readyz", response_model=Health, openapi_extra=PUBLIC, responses=problems(503))
def get_readiness(site: SiteDep) -> Response:
    """A store can be read, or there is none yet."""
    names = site.names()
    for name in names:
        try:
            site.profile(name).store.facts()
        except TenureError:
            continue
        return Reply({"status": "ok"})
    if names:
        raise ProblemRaised(
            problem(503, "not_ready", "no profile's store can be read", remedy="`tenure status`")
        )
    return Reply({"status": "no profiles"})

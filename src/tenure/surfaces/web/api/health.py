"""For supervisors and balancers: does the process answer, can a store be read. No token."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tenure.client.documents import Reply
from tenure.domain.errors import TenureError
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.deps import SiteDep
from tenure.surfaces.web.problems import ProblemRaised, problem

router = APIRouter(tags=["operation"])
PUBLIC: dict[str, list[object]] = {"security": []}


class HealthReply(Reply):
    status: str


@router.get("/healthz", response_model=HealthReply, openapi_extra=PUBLIC)
async def get_health() -> Response:
    """The process answers."""
    return JsonResponse(HealthReply(status="ok"))


@router.get("/readyz", response_model=HealthReply, openapi_extra=PUBLIC, responses=problems(503))
def get_readiness(site: SiteDep) -> Response:
    """A store can be read, or there is none yet."""
    names = site.names()
    for name in names:
        try:
            site.profile(name).store.facts()
        except TenureError:
            continue
        return JsonResponse(HealthReply(status="ok"))
    if names:
        raise ProblemRaised(
            problem(503, "not_ready", "no profile's store can be read", remedy="`tenure status`")
        )
    return JsonResponse(HealthReply(status="no profiles"))

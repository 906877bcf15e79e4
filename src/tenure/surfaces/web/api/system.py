"""What is about no single profile: schedules as typed, problem types, metrics, health."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tenure.client.documents import Document, Reply
from tenure.client.documents.jobs import PreviewReply
from tenure.domain.errors import InvalidInput, TenureError
from tenure.host.local_zone import local_zone
from tenure.surfaces.web.api.bodies import PreviewAsked
from tenure.surfaces.web.api.common import Body, JsonResponse, check_names
from tenure.surfaces.web.api.openapi import json_body, reply
from tenure.surfaces.web.metrics import Figures
from tenure.surfaces.web.problems import MEANINGS, TYPES, ProblemRaised
from tenure.surfaces.web.schedule_preview import preview_document, read_schedule
from tenure.surfaces.web.site import SiteDep

router = APIRouter()
PUBLIC: dict[str, list[object]] = {"security": []}
LONGEST = 1000
"""Characters of a text of the preview."""


@router.post(
    "/api/v1/schedules/preview",
    tags=["schedules"],
    openapi_extra=json_body(PreviewAsked),
    **reply(PreviewReply, 400, 415, 422),
)
def preview_schedule(body: Body, site: SiteDep) -> Response:
    """A schedule in English and its next ten scheduled times; 422 names the invalid field."""
    check_names(body, "text", "timezone", "dst")
    text = _text(body, "text")
    if not text.strip():
        raise InvalidInput("expected a schedule", field="text", remedy="such as 'every 5m'")
    now, zone = site.now(), _text(body, "timezone") or local_zone()
    schedule = read_schedule(text, now=now, timezone=zone, dst=_text(body, "dst") or None)
    return JsonResponse(preview_document(schedule, now))


def _text(body: dict[str, object], name: str) -> str:
    value = body.get(name)
    if value is None:
        value = ""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise InvalidInput(f"expected a text of at most {LONGEST} characters", field=name)
    return value


class ProblemType(Document):
    code: str
    status: int
    title: str
    meaning: str


class ProblemTypes(Reply):
    problems: list[ProblemType]


@router.get(TYPES, tags=["problems"], response_model=ProblemTypes)
async def list_problem_types() -> Response:
    """The meaning of each `type` and `code` of a problem."""
    problems = [
        ProblemType(code=code, status=status, title=HTTPStatus(status).phrase, meaning=meaning)
        for code, (status, meaning) in MEANINGS.items()
    ]
    return JsonResponse(ProblemTypes(problems=problems))


@router.get(
    "/metrics",
    tags=["operation"],
    response_class=Response,
    responses={
        200: {
            "description": "The text format, 0.0.4.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": 'tenure_owner_term{profile="default"} 7.0\n',
                }
            },
        }
    },
)
async def get_metrics(request: Request) -> Response:
    """Fires, claims, lag, what was held, missed or refused, the owner, requests. Counters begin
    when the dashboard first reads a profile."""
    figures: Figures = request.app.state.figures
    figures.listen()
    text = await run_in_threadpool(figures.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


class HealthReply(Reply):
    status: str


@router.get("/healthz", tags=["operation"], response_model=HealthReply, openapi_extra=PUBLIC)
async def get_health() -> Response:
    """The process answers."""
    return JsonResponse(HealthReply(status="ok"))


@router.get("/readyz", tags=["operation"], openapi_extra=PUBLIC, **reply(HealthReply, 503))
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
            503, "not_ready", "no profile's store can be read", remedy="`tenure status`"
        )
    return JsonResponse(HealthReply(status="no profiles"))

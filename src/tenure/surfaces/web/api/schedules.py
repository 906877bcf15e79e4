"""Schedules as the user types them."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tenure.client.documents.jobs import PreviewReply
from tenure.domain.errors import InvalidInput
from tenure.host.local_zone import local_zone
from tenure.surfaces.web import schedule_preview
from tenure.surfaces.web.api.bodies import PreviewAsked
from tenure.surfaces.web.api.common import Body, JsonResponse
from tenure.surfaces.web.api.openapi import json_body, problems
from tenure.surfaces.web.deps import SiteDep

router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"])
LONGEST = 1000


@router.post(
    "/preview",
    response_model=PreviewReply,
    openapi_extra=json_body(PreviewAsked),
    responses=problems(400, 415, 422),
)
def preview_schedule(body: Body, site: SiteDep) -> Response:
    """A schedule in English and its next ten fire times; 422 names the invalid field."""
    for name in body:
        if name not in ("text", "timezone", "dst"):
            raise InvalidInput(f"there is no field {name[:80]!r}", field=name[:80])
    text = _text(body, "text")
    if not text.strip():
        raise InvalidInput("expected a schedule", field="text", remedy="such as 'every 5m'")
    zone = _text(body, "timezone") or local_zone()
    found = schedule_preview.preview(
        text, now=site.now(), timezone=zone, dst=_text(body, "dst") or None
    )
    return JsonResponse(schedule_preview.preview_document(found))


def _text(body: dict[str, object], name: str) -> str:
    value = body.get(name)
    if value is None:
        value = ""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise InvalidInput(f"expected a text of at most {LONGEST} characters", field=name)
    return value

"""Figures for Prometheus. Scrape it with the token: ``authorization: {credentials: TOKEN}``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tenure.surfaces.web.metrics.figures import Figures

router = APIRouter(tags=["operation"])
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/metrics",
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
    return Response(text, media_type=CONTENT_TYPE)

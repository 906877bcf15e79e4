"""The application: what is served where, and what happens at its start and end.

::

    /api/v1/...              the API (api/), problem+json, OpenAPI at /api/v1/openapi.json
    /p/{profile}/..., /      the page (pages/), rendered here, enlivened by /p/{profile}/live, /live
    /static/...              the page's own files
    /metrics                 Prometheus
    /healthz, /readyz        for supervisors; without a token
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from tenure import __version__
from tenure.surfaces.web import problems
from tenure.surfaces.web.api import routers
from tenure.surfaces.web.api.common import MAX_WAITING
from tenure.surfaces.web.api.openapi import describe
from tenure.surfaces.web.guard import Guard
from tenure.surfaces.web.live.all_profiles import profiles_stream
from tenure.surfaces.web.live.hub import Hub
from tenure.surfaces.web.metrics import Figures
from tenure.surfaces.web.pages import problem_page
from tenure.surfaces.web.pages import router as pages
from tenure.surfaces.web.site import ProfileDep, Site


def create_app(site: Site) -> FastAPI:
    """The ASGI application over ``site``, which it closes when it ends."""
    hub = Hub(site)
    figures = Figures(site, hub)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hub.start()
        yield
        figures.close()
        hub.close()
        site.close()

    app = FastAPI(
        title="Tenure",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.site = site
    app.state.hub = hub
    app.state.owner_limiter = CapacityLimiter(MAX_WAITING)
    app.state.auditing = asyncio.Lock()
    app.state.figures = figures
    app.state.problem_page = problem_page
    problems.install(app)
    for router in routers():
        app.include_router(router)
    describe(app)
    app.include_router(pages, include_in_schema=False)
    _add_streams(app, hub)
    app.add_middleware(Guard, site=site)
    return app


def _add_streams(app: FastAPI, hub: Hub) -> None:
    @app.get("/p/{profile}/live", include_in_schema=False)
    async def live(
        request: Request, profile: ProfileDep, mark: str | None = None
    ) -> StreamingResponse:
        mark = request.headers.get("last-event-id") or mark
        return hub.respond(hub.stream(profile.name, mark))

    @app.get("/live", include_in_schema=False)
    async def live_profiles(request: Request, mark: str | None = None) -> StreamingResponse:
        mark = request.headers.get("last-event-id") or mark
        return hub.respond(profiles_stream(hub, mark))

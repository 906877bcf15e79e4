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
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.staticfiles import StaticFiles

from tenure import __version__
from tenure.surfaces.web import problems
from tenure.surfaces.web.api import routers
from tenure.surfaces.web.api.common import OwnerRequests
from tenure.surfaces.web.api.openapi import describe
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.guard.security import Guard
from tenure.surfaces.web.live.all_profiles import profiles_stream
from tenure.surfaces.web.live.hub import Hub
from tenure.surfaces.web.metrics.figures import Figures
from tenure.surfaces.web.site import Site

STATIC = Path(__file__).parent / "static"


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
    app.state.owner_requests = OwnerRequests()
    app.state.auditing = asyncio.Lock()
    app.state.figures = figures
    problems.install(app)
    for router in routers():
        app.include_router(router)
    describe(app)
    _mount_pages(app, hub)
    app.add_middleware(Guard, site=site)
    return app


def _mount_pages(app: FastAPI, hub: Hub) -> None:
    if find_spec("tenure.surfaces.web.pages") is not None:
        pages = import_module("tenure.surfaces.web.pages")
        if hasattr(pages, "router"):
            app.include_router(pages.router, include_in_schema=False)
        app.state.problem_page = getattr(pages, "problem_page", None)
    if STATIC.is_dir():
        app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/p/{profile}/live", include_in_schema=False)
    async def live(
        request: Request, profile: ProfileDep, mark: str | None = None
    ) -> StreamingResponse:
        hub.check_room()
        mark = request.headers.get("last-event-id") or mark
        return StreamingResponse(hub.stream(profile.name, mark), media_type="text/event-stream")

    @app.get("/live", include_in_schema=False)
    async def live_profiles(request: Request, mark: str | None = None) -> StreamingResponse:
        hub.check_room()
        mark = request.headers.get("last-event-id") or mark
        return StreamingResponse(profiles_stream(hub, mark), media_type="text/event-stream")

"""The web application over a site, in this process."""

from __future__ import annotations

from fastapi import FastAPI

from tenure.surfaces.web.app import create_app
from tenure.surfaces.web.site import Site

_FIRST: list[FastAPI] = []


def make_app(site: Site) -> FastAPI:
    """The application over ``site``, with the routers of this process's first application."""
    app = create_app(site)
    if not _FIRST:
        _FIRST.append(app)
    # FastAPI analyses routers again for each application, at its first request, for 0.4 s of CPU.
    # They know no site: it is a state of the application.
    for place, route in enumerate(_FIRST[0].router.routes):
        if type(route).__name__ == "_IncludedRouter":
            app.router.routes[place] = route
    return app

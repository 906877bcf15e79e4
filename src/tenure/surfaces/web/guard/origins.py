"""By which name the dashboard is asked for, and by whose page."""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers

from tenure.surfaces.web.problems import ProblemRaised, problem
from tenure.surfaces.web.site import Site

_HOST = re.compile(
    r"(?:(?P<name>[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?)|\[(?P<six>[0-9a-f:.]{2,45})\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


def check_host(headers: Headers, site: Site) -> str:
    """The Host header, if it names us. Raises ProblemRaised."""
    given = headers.getlist("host")
    if len(given) != 1 or not given[0]:
        raise ProblemRaised(problem(400, "malformed", "one Host header is needed"))
    host = given[0].lower()
    if not _is_ours(host, site):
        raise ProblemRaised(
            problem(
                421,
                "wrong_host",
                f"this dashboard does not answer to the name {host[:100]!r}",
                remedy="use the address that `tenure dashboard` printed; a reverse proxy's name "
                "is allowed by --allow-host NAME",
            )
        )
    return host


def _is_ours(host: str, site: Site) -> bool:
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    name = match["name"] or match["six"]
    if name == "localhost" or name in site.hosts:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or "*" in site.hosts


def check_origin(headers: Headers, host: str) -> None:
    """Raises ProblemRaised for a request that another origin's page makes."""
    origin = headers.get("origin")
    if origin is not None and not _same(origin, host):
        raise ProblemRaised(
            problem(
                403,
                "foreign_origin",
                f"a page of {origin[:100]!r} may not ask this dashboard",
                remedy="use the dashboard's own page, or a token from a program",
            )
        )


def _same(origin: str, host: str) -> bool:
    scheme, _, authority = origin.lower().partition("://")
    if scheme not in ("http", "https"):
        return False
    usual = ":443" if scheme == "https" else ":80"
    return authority.removesuffix(usual) == host.removesuffix(usual)

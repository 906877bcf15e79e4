"""``tenure dashboard``: the page and the API of an observer."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import click

from tenure.domain.errors import TenureError
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import Verb, Where
from tenure.surfaces.cli.web_options import HOST, PORT, check_extra, exposed, link_command

FILES = 4096
NICER = 5
"""As nice(1) counts: about a third of what an owner gets of a processor that both want."""

if TYPE_CHECKING:
    from tenure.surfaces.web.server import Server
    from tenure.surfaces.web.site import Site


@click.command(cls=Verb)
@click.option("--host", default=HOST, show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any free."
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host name that a proxy uses for it.",
)
@click.option("--read-only", is_flag=True, help="Print a read-only link.")
@click.option("--link", "only_link", is_flag=True, help="Print the link and exit.")
@click.option(
    "--new-token", is_flag=True, help="Revoke all links and cookies, then print a new link."
)
@click.pass_obj
def dashboard(
    where: Where,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    read_only: bool,
    only_link: bool,
    new_token: bool,
) -> int:
    """Serve the web page and the API in the foreground, for every profile of the home.

    It shows, edits and requests; it never runs a job, and stopping it does not affect jobs. Open
    the link that it prints. Its token is left out where standard output is not a terminal, for
    logs are read by others: `tenure dashboard --link` prints it. Ctrl-C or SIGTERM ends it.
    """
    check_extra()
    from tenure.surfaces.web.guard.tokens import Tokens
    from tenure.surfaces.web.server import is_loopback, link, link_to, listen, make_server
    from tenure.surfaces.web.site import Site

    home = where.home_folder()
    if only_link or new_token:
        pair = Tokens.of_home(home, renew=new_token).pair
        _say(where, link_to(host, port, pair.read_only if read_only else pair.full, _path(where)))
        return 0
    sock = listen(host, port)
    try:
        tokens = Tokens.of_home(home)
        loopback = is_loopback(sock.getsockname()[0])
        if not loopback:
            output.warn(exposed(host), "")
        names = {*hosts, *(() if loopback else ("*",))}
        site = Site(home, tokens, hosts=names)
        _show_first(site, where)
        token = tokens.pair.read_only if read_only else tokens.pair.full
        server = make_server(site)
        _end_on_signals(server)  # before anybody can know that it is there
        if where.json or sys.stdout.isatty():
            _say(where, link(sock, token, _path(where)))
        else:  # a log is read by more people than may run jobs
            _say(where, link(sock, None, _path(where)))
            output.say(
                "its link with the token that it asks for: "
                + link_command(sock, home, _named(where), read_only=read_only)
            )
            sys.stdout.flush()
        try:
            return _run(server, sock)
        finally:
            site.close()  # a signal that comes before it serves ends no lifespan, which would
    finally:
        sock.close()


def _path(where: Where) -> str:
    """The page of the profile that was named; the overview otherwise."""
    named = _named(where)
    return f"/p/{named}/" if named else "/"


def _named(where: Where) -> str | None:
    return where.profile or os.environ.get("TENURE_PROFILE")


def _show_first(site: Site, where: Where) -> None:
    """Be seen in the profile at once, if there is one; the others when they are looked at."""
    try:
        if where.name in site.names():
            site.profile(where.name)
    except TenureError as error:
        output.warn(error.text, error.remedy)


def _say(where: Where, link: str) -> None:
    if where.json:
        output.print_json({"url": link, "pid": os.getpid()})
    else:
        output.say(link)
    sys.stdout.flush()


def _end_on_signals(server: Server) -> None:
    """A second signal does not wait for answers that are under way. Uvicorn's own handlers would
    raise the signal again when it has ended."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def _run(server: Server, sock: object) -> int:
    """Until a signal."""
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=os.environ.get("TENURE_LOG", "WARNING").upper(),
            format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            stream=sys.stderr,
        )

    _allow_many_streams()
    _give_way()
    import asyncio

    async def serve() -> None:
        if not server.should_exit:
            await server._serve([sock])  # type: ignore[list-item]

    asyncio.run(serve())
    return 0


def _give_way() -> None:
    """To the owner, where both want the processor: who looks on must not make jobs late."""
    if hasattr(os, "nice"):  # not on Windows
        with contextlib.suppress(OSError):
            os.nice(NICER)


def _allow_many_streams() -> None:
    """As many open files as the system lets this process have: a stream is one."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

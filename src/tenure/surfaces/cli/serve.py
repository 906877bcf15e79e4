"""``tenure serve`` and ``tenure dashboard``: the scheduler and the page, in the foreground.

The page's modules are imported only where it is served: ``tenure serve`` runs without the extra.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

import click

from tenure.domain.errors import InvalidInput, Refused, TenureError
from tenure.host.local_zone import other_zone
from tenure.runtime.profile import Profile
from tenure.store.folder.user_home import default_home
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import Verb, Where, now

if TYPE_CHECKING:
    from tenure.surfaces.web.server import Server
    from tenure.surfaces.web.site import Site
    from tenure.surfaces.web.tokens import Tokens

log = logging.getLogger("tenure.web")

HOST, PORT = "127.0.0.1", 8787
_NEEDS = ("fastapi", "pydantic_core", "uvicorn", "jinja2", "prometheus_client", "python_multipart")
MAX_OPEN_FILES = 4096
NICENESS = 5
"""As nice(1) counts: about a third of what an owner gets of a processor that both want."""

_ALLOW_HOST = click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME",
    help="A host name by which a proxy reaches the page (repeatable).",
)  # fmt: skip


# -- serve ----------------------------------------------------------------------------------------
@click.command(cls=Verb)
@click.option("--role", metavar="ROLE", help="The role that this process states, for owner rules.")
@click.option("--app", metavar="PKG.MOD:NAME", help="Run the jobs that this app declares.")
@click.option(
    "--web", is_flag=False, flag_value=f"{HOST}:{PORT}", metavar="[HOST:PORT]",
    help=f"Serve the page and the API too (default: {HOST}:{PORT}).",
)  # fmt: skip
@_ALLOW_HOST
@click.pass_obj
def serve(
    where: Where, role: str | None, app: str | None, web: str | None, hosts: tuple[str, ...]
) -> int:
    """Run the scheduler in the foreground: a candidate, and owner when the rules admit it.

    SIGTERM and Ctrl-C hand over the ownership and give runs ten seconds to finish; the next owner
    adopts the commands that still run. Logs go to standard error; TENURE_LOG sets the level.
    """
    address = None
    if web is not None:
        check_extra()
        address = read_address(web)
    from tenure.runtime.daemon import serve as run

    with where.open(create=True, to_own=True, warns=False) as profile:
        where.say_home()
        _say_zone(profile)
        beside = None
        if address is not None:
            beside = _page_beside(where.home_folder(), profile.name, address, hosts)
        return run(profile, role=role, app=app, beside=beside)


def _say_zone(profile: Profile) -> None:
    """Where TZ, which has no effect, names another zone: containers are started with one."""
    zone = profile.timezone()
    other = other_zone(zone, os.environ, now())
    if other is not None:
        output.note(
            f"{other.text}, but it has no effect: jobs without a time zone use {zone}",
            f"to change it: timezone = {other.name!r} in {profile.folder.toml}"
            if other.name
            else "",
        )


def _page_beside(
    home: Path, profile: str, address: tuple[str, int], hosts: tuple[str, ...]
) -> Callable[[], Callable[[], None]]:
    """Starts the page once the scheduler has joined; what it returns stops the page."""

    def begin() -> Callable[[], None]:
        from tenure.surfaces.web.server import BackgroundServer, link, listen
        from tenure.surfaces.web.tokens import Tokens

        sock = listen(*address)
        tokens = Tokens.of_home(home)
        site = _make_site(
            home, tokens, sock, hosts, {profile}, lambda text: log.warning("%s", text)
        )
        page = BackgroundServer(site, sock)
        page.start()
        # A log is read by more people than may run jobs: the token is for a terminal alone.
        shown = sys.stderr is not None and sys.stderr.isatty()
        log.info("the page: %s", link(sock, tokens.pair.full if shown else None, f"/p/{profile}/"))
        if not shown:
            log.info("to print the link with its token: %s", link_command(sock, home, profile))
        return page.stop

    return begin


def _make_site(
    home: Path,
    tokens: Tokens,
    sock: socket,
    hosts: tuple[str, ...],
    joined: set[str],
    warn: Callable[[str], None],
) -> Site:
    """The page's site; warns where other machines can reach its socket."""
    from tenure.surfaces.web.server import is_loopback
    from tenure.surfaces.web.site import Site

    names, host = set(hosts), sock.getsockname()[0]
    if not is_loopback(host):
        names.add("*")
        warn(
            f"{host} can be reached from other machines, and traffic is not encrypted: the token "
            "can be read on the way. Put a proxy with TLS in front of it (docs/web.md), or listen "
            f"on {HOST} and use `ssh -L`"
        )
    return Site(home, tokens, hosts=names, joined=joined)


# -- dashboard ------------------------------------------------------------------------------------
@click.command(cls=Verb)
@click.option(
    "--host", default=HOST, show_default=True, metavar="ADDRESS", help="The address to listen on."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, metavar="N",
    help="The port to listen on; 0 picks a free one.",
)  # fmt: skip
@_ALLOW_HOST
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

    The page shows jobs, edits them and sends requests; it never runs a job, and stopping it does
    not affect jobs. Open the link that is printed. On a terminal it contains the token; elsewhere,
    as in a log file, it does not, and `tenure dashboard --link` prints it. Ctrl-C or SIGTERM stops
    the page.
    """
    check_extra()
    from tenure.surfaces.web.server import link, link_to, listen, make_server
    from tenure.surfaces.web.tokens import Tokens

    home, named = where.home_folder(), where.profile or os.environ.get("TENURE_PROFILE")
    # Without a profile the overview of all.
    path = f"/p/{named}/" if named else "/"
    if only_link or new_token:
        pair = Tokens.of_home(home, renew=new_token).pair
        _say_link(where, link_to(host, port, pair.read_only if read_only else pair.full, path))
        return 0
    sock = listen(host, port)
    try:
        tokens = Tokens.of_home(home)
        site = _make_site(home, tokens, sock, hosts, set(), output.warn)
        _join_first(site, where)
        token = tokens.pair.read_only if read_only else tokens.pair.full
        server = make_server(site)
        # Handlers come before the link: a reader of the link may already send a signal.
        _end_on_signals(server)
        # A log is read by more people than may run jobs: no token there.
        shown = where.json or sys.stdout.isatty()
        _say_link(where, link(sock, token if shown else None, path))
        if not shown:
            command = link_command(sock, home, named, read_only=read_only)
            output.say(f"to print the link with its token: {command}")
            sys.stdout.flush()
        try:
            return _run(server, sock)
        finally:
            # A signal before serving began ends no lifespan, which would close the site.
            site.close()
    finally:
        sock.close()


def _join_first(site: Site, where: Where) -> None:
    """Join the named profile at once, if it exists; the others when they are looked at."""
    try:
        if where.name in site.names():
            site.profile(where.name)
    except TenureError as error:
        output.warn(error.text, error.remedy)


def _say_link(where: Where, link: str) -> None:
    where.answer({"url": link, "pid": os.getpid()}, link)
    sys.stdout.flush()


def _end_on_signals(server: Server) -> None:
    """A second signal does not wait for answers that are under way. Uvicorn's own handlers would
    raise the signal again when it has ended."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def _run(server: Server, sock: socket) -> int:
    """Until a signal."""
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=os.environ.get("TENURE_LOG", "WARNING").upper(),
            format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            stream=sys.stderr,
        )
    _allow_many_streams()
    # An observer must not make the owner's jobs late where both want the processor.
    # Not on Windows.
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(NICENESS)

    import asyncio

    async def serve_until_signal() -> None:
        if not server.should_exit:
            await server._serve([sock])

    asyncio.run(serve_until_signal())
    return 0


def _allow_many_streams() -> None:
    """As many open files as the system lets this process have: each stream is one."""
    try:
        import resource
    except ImportError:
        # Not on Windows.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# -- both -----------------------------------------------------------------------------------------
def check_extra() -> None:
    """Raises Refused, with what to type, where the extra is not installed."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise Refused(
            f"the page needs packages that are not installed: {', '.join(missing)}",
            remedy="pip install 'tenure[web]'",
            missing=missing,
        )


def read_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[::1]:PORT``, a host or a port alone. Raises InvalidInput."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = ("", text) if text.isdecimal() else (text, "")
    elif text.endswith("]") or (":" in host and not host.startswith("[")):
        # An address of IPv6 without a port.
        host, port = text, ""
    host = host.removeprefix("[").removesuffix("]") or HOST
    if port and not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise InvalidInput(
            f"{text[:80]!r} is not a valid address", field="web", remedy=f"such as {HOST}:{PORT}"
        )
    return host, int(port) if port else PORT


def link_command(sock: socket, home: Path, profile: str | None, *, read_only: bool = False) -> str:
    """The command that prints the link of a page listening on ``sock``, with its token."""
    host, port = sock.getsockname()[:2]
    words = ["tenure", "dashboard", "--link", "--port", str(port)]
    if host != HOST:
        words += ["--host", host]
    try:
        usual = default_home(os.environ)
    except TenureError:
        # This user has none.
        usual = None
    if home != usual:
        words += ["--home", str(home)]
    if profile is not None:
        words += ["--profile", profile]
    if read_only:
        words.append("--read-only")
    return shlex.join(words)

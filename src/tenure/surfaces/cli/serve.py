"""``tenure serve``: a scheduler process in the foreground, with the page beside it if asked."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from tenure.host.tz_variable import other_zone
from tenure.runtime.profile import Profile
from tenure.surfaces.cli.command import Verb, Where, now
from tenure.surfaces.cli.output import note
from tenure.surfaces.cli.web_options import (
    HOST,
    PORT,
    check_extra,
    exposed,
    link_command,
    read_address,
)

log = logging.getLogger("tenure.web")


@click.command(cls=Verb)
@click.option(
    "--role", metavar="ROLE", help="The role that this process states, for the owner rules."
)
@click.option("--app", metavar="PKG.MOD:NAME", help="Run the jobs that this app declares.")
@click.option(
    "--web", is_flag=False, flag_value=f"{HOST}:{PORT}", metavar="[HOST:PORT]",
    help=f"Serve the page and the API too (at {HOST}:{PORT}).",
)  # fmt: skip
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host name that a proxy uses for it.",
)
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
            beside = _page(where.home_folder(), profile.name, address, hosts)
        return run(profile, role=role, app=app, beside=beside)


def _say_zone(profile: Profile) -> None:
    """Where TZ, which decides nothing, names another zone: containers are started with one."""
    zone = profile.timezone()
    said = other_zone(zone, os.environ, now())
    if said is not None:
        note(
            f"{said.text}; it does not decide: jobs that name no zone are read in {zone}",
            f"to change it: timezone = {said.name!r} in {profile.folder.toml}" if said.name else "",
        )


def _page(
    home: Path, profile: str, address: tuple[str, int], hosts: tuple[str, ...]
) -> Callable[[], Callable[[], None]]:
    """What starts the page once the scheduler has joined, and gives what ends it."""

    def begin() -> Callable[[], None]:
        from tenure.surfaces.web.guard.tokens import Tokens
        from tenure.surfaces.web.server import BackgroundServer, is_loopback, link, listen
        from tenure.surfaces.web.site import Site

        sock = listen(*address)
        tokens = Tokens.of_home(home)
        names = set(hosts)
        if not is_loopback(sock.getsockname()[0]):
            names.add("*")
            log.warning("%s", exposed(address[0]))
        page = BackgroundServer(Site(home, tokens, hosts=names, joined={profile}), sock)
        page.start()
        if sys.stderr is not None and sys.stderr.isatty():
            log.info("the page: %s", link(sock, tokens.pair.full, f"/p/{profile}/"))
        else:  # a log is read by more people than may run jobs
            command = link_command(sock, home, profile)
            log.info("the page: %s", link(sock, None, f"/p/{profile}/"))
            log.info("its link with the token that it asks for: %s", command)
        return page.stop

    return begin

"""The programs that host a scheduler: how each is started, and what is to be seen of it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

APPS = Path(__file__).resolve().parent / "apps"
BIN = Path(sys.executable).parent
Argv = Callable[[int], list[str]]
"""The command line, given a free port on loopback."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """One program. ``joins`` counts the processes that serve, and so should join."""

    name: str
    argv: Argv
    joins: int = 1
    supervised: bool = True
    """Its first process only looks after others, and must never join."""
    folder: str = "."
    """Where it is started, below the apps."""
    touch: str | None = None
    """A file whose change makes it reload its code."""
    serves: bool = True
    """Whether ``GET /`` answers with the pid of the process."""
    says: str = ""
    """What its log says once it heeds signals; asked for where nothing is served."""
    deaf: bool = False
    """Whether it may need two requests to end."""
    sends: bool = False
    """Whether Tenure has a job there that sends a task at each fire, as Celery's beat would."""


def smaller(host: Host, workers: int) -> Host:
    """The same with fewer processes, where it has eight."""
    if host.joins != 8:
        return host
    counted = {"-w": str(workers), "manyprocs.py": str(workers)}

    def argv(port: int) -> list[str]:
        full = host.argv(port)
        return [counted.get(before, part) for before, part in zip(["", *full], full, strict=False)]

    return replace(host, argv=argv, joins=workers)


def hold_port() -> socket.socket:
    """A port that no other process takes while its server is slow to bind it: it is bound and not
    listened on, so probes and connections do not get it; a server that sets SO_REUSEADDR does."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def _gunicorn(worker: str, *more: str, app: str = "wsgi:app") -> Argv:
    return lambda port: [
        str(BIN / "gunicorn"),
        *("-w", "8", "-k", worker, "-b", f"127.0.0.1:{port}", "--no-control-socket"),
        *(*more, app),
    ]


def _uvicorn(app: str, *more: str) -> Argv:
    return lambda port: [str(BIN / "uvicorn"), "--port", str(port), *more, app]


def _uvicorn_run(how: str) -> Argv:
    return lambda port: [sys.executable, "uvicornmain.py", how, str(port)]


def _flask_run(port: int) -> list[str]:
    return [str(BIN / "flask"), "--app", "flaskapp", "run", "--debug", "--port", str(port)]


def _celery(pool: str) -> Host:
    count = {"prefork": ("-c", "4"), "threads": ("-c", "4"), "solo": ()}[pool]
    argv = [str(BIN / "celery"), "-A", "celeryapp", "worker", "--pool", pool, *count]
    return Host(
        name=f"celery worker {' '.join([*count, '--pool', pool])}",
        argv=lambda port: [*argv, "--without-gossip", "--without-mingle", "--loglevel", "INFO"],
        joins=4 if pool == "prefork" else 1,
        supervised=pool == "prefork",
        serves=False,
        says=" ready.",
        sends=True,
    )


def _uwsgi(*more: str) -> Host:
    return Host(
        name=f"uwsgi -p 4 {' '.join(['--enable-threads', *more])}",
        argv=lambda port: [
            *(str(BIN / "uwsgi"), "--master", "-p", "4", "--enable-threads", *more),
            *("--http-socket", f"127.0.0.1:{port}", "--wsgi-file", "wsgi.py", "--callable", "app"),
            *("--die-on-term", "--need-app"),
        ],
        joins=4,
        deaf=True,
    )


def _python(*argv: str) -> Argv:
    return lambda port: [sys.executable, *argv]


def _gunicorns() -> list[Host]:
    kinds = {
        "sync": ("sync", (), "wsgi:app"),
        "gthread": ("gthread", ("--threads", "4"), "wsgi:app"),
        "uvicorn worker": ("uvicorn.workers.UvicornWorker", (), "asgi:fastapi"),
        "asgi": ("asgi", (), "asgi:fastapi"),
    }
    return [
        Host(
            name=f"gunicorn -w 8{' --preload' if preload else ''} ({kind})",
            argv=_gunicorn(worker, *more, *(("--preload",) if preload else ()), app=app),
            joins=8,
        )
        for kind, (worker, more, app) in kinds.items()
        for preload in (False, True)
    ]


def _many(*how: str) -> Host:
    return Host(
        name=f"multiprocessing, {' '.join(how)}, 8",
        argv=_python("manyprocs.py", "8", *how),
        joins=8,
        supervised=False,
        serves=False,
    )


def _alone(name: str, argv: Argv) -> Host:
    return Host(name=name, argv=argv, supervised=False, serves=False)


HOSTS = {
    host.name: host
    for host in (
        *_gunicorns(),
        Host(
            name="gunicorn -w 8 (Django)",
            argv=_gunicorn("sync", app="wsgi:application"),
            joins=8,
            folder="site",
        ),
        Host(
            name="gunicorn -w 8 --preload (Flask)",
            argv=_gunicorn("sync", "--preload", app="flaskapp:app"),
            joins=8,
        ),
        Host(name="uvicorn --workers 4", argv=_uvicorn("asgi:fastapi", "--workers", "4"), joins=4),
        Host(name="uvicorn --reload", argv=_uvicorn("asgi:fastapi", "--reload"), touch="asgi.py"),
        Host(name="uvicorn.run(workers=4)", argv=_uvicorn_run("workers"), joins=4, serves=False),
        Host(
            name="uvicorn.run(reload=True)",
            argv=_uvicorn_run("reload"),
            touch="uvicornmain.py",
            serves=False,
        ),
        Host(name="flask run --debug", argv=_flask_run, touch="flaskapp.py"),
        Host(
            name="app.run(debug=True)",
            argv=lambda port: [sys.executable, "flaskapp.py", str(port)],
            touch="flaskapp.py",
        ),
        Host(
            name="Django runserver",
            argv=lambda port: [sys.executable, "manage.py", "runserver", f"127.0.0.1:{port}"],
            folder="site",
            touch="urls.py",
        ),
        _alone("uvicorn (Starlette)", _uvicorn("asgi:starlette")),
        _alone("uvicorn (Litestar)", _uvicorn("asgi:litestar")),
        _many("fork"),
        _many("fork", "before"),
        _many("spawn"),
        _many("forkserver"),
        _uwsgi(),
        _uwsgi("--lazy-apps"),
        _celery("prefork"),
        _celery("threads"),
        _celery("solo"),
        Host(name="a Jupyter kernel", argv=_python("notebook.py"), serves=False),
        _alone("a script", _python("script.py")),
    )
}

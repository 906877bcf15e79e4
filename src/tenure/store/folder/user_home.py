"""The user's home folder, and the Tenure home that follows from it.

Authority: the passwd entry of this process's uid. A service, a shell and a container's entry point
of one user often have different ``HOME`` variables; they must find the same profiles. ``HOME``
counts only where the uid has no passwd entry (``docker run --user 54321``, OpenShift), and then
only if it names a folder of that uid.

Every function reads the passwd file or the file system when it is called; any thread can call them.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from tenure.domain.errors import InvalidInput

_FOLDER = ".tenure"


def passwd_home() -> Path | None:
    """The home folder in the passwd entry; None for a uid without an entry."""
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except (KeyError, OverflowError):
        return None


def user_home(environ: Mapping[str, str]) -> Path:
    """The user's home folder: :func:`passwd_home`, else ``HOME`` if it is a folder of this uid.

    Raises :class:`InvalidInput`, which names ``TENURE_HOME``, where neither says.
    """
    home = passwd_home() or _home_variable(environ)
    if home is not None:
        return home
    variable = environ.get("HOME", "")
    why = (
        f"and HOME ({variable}) is not a folder of this user" if variable else "and HOME is not set"
    )
    raise InvalidInput(
        f"uid {os.geteuid()} has no passwd entry, {why}: Tenure has no home folder",
        field="home",
        remedy="set TENURE_HOME to a folder that this user can write, or use --home DIR",
    )


def default_home(environ: Mapping[str, str] | None = None) -> Path:
    """``.tenure`` in :func:`user_home`. Raises what that raises."""
    return user_home(os.environ if environ is None else environ) / _FOLDER


def other_home(environ: Mapping[str, str]) -> Path | None:
    """The Tenure home that ``HOME`` would name, where it is not the one in use.

    None where ``TENURE_HOME`` decides, where ``HOME`` says nothing, and where both are one folder.
    """
    account_home, variable = passwd_home(), environ.get("HOME", "")
    if environ.get("TENURE_HOME") or account_home is None or not os.path.isabs(variable):
        return None
    if os.path.realpath(variable) == os.path.realpath(account_home):
        return None
    return Path(variable) / _FOLDER


def which_home(home: Path, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """What to say where ``HOME`` differs from the passwd entry: which home is used, and how to use
    the other one; None where there is nothing to say.

    ``home`` is the Tenure home in use; one that ``--home`` named needs no words.
    """
    other = other_home(environ)
    if other is None or home != default_home(environ):
        return None
    return (
        f"profiles are in {home}, by the passwd entry, not in HOME ({environ['HOME']})",
        f"set TENURE_HOME={home} to confirm it, or TENURE_HOME={other} to use that folder",
    )


def job_folder(environ: Mapping[str, str]) -> str:
    """Where a command runs that names no folder: the home folder of the passwd entry, else
    ``HOME``, else ``/``; the first that this process can enter."""
    account_home, variable = passwd_home(), environ.get("HOME", "")
    for folder in (str(account_home) if account_home else "", variable):
        if os.path.isabs(folder) and os.path.isdir(folder) and os.access(folder, os.X_OK):
            return folder
    return "/"


def account_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What cron gives a job of its user: HOME, LOGNAME, USER and SHELL, from the passwd entry.

    SHELL is ``/bin/sh`` whatever the entry says. A uid without an entry has no name, and
    :func:`job_folder` for HOME.
    """
    home = passwd_home()
    variables = {"HOME": str(home) if home else job_folder(environ), "SHELL": "/bin/sh"}
    with contextlib.suppress(KeyError, OverflowError):
        variables["LOGNAME"] = variables["USER"] = pwd.getpwuid(os.geteuid()).pw_name
    return variables


def expand(path: str, field: str) -> str:
    """``path`` with its leading ``~`` or ``~user`` as a shell replaces it. Raises
    :class:`InvalidInput` where no such home folder is known."""
    full = os.path.expanduser(path)
    if full.startswith("~"):
        raise InvalidInput(
            f"no home folder is known for {full.partition('/')[0]}",
            field=field,
            remedy="write the full path",
        )
    return full


def _home_variable(environ: Mapping[str, str]) -> Path | None:
    folder = environ.get("HOME", "")
    try:
        mine = os.path.isabs(folder) and os.stat(folder).st_uid == os.geteuid()
        return Path(folder) if mine and os.path.isdir(folder) else None
    except (OSError, ValueError):
        return None

"""``tenure``: the entry point, its verbs, and how errors end.

Exit codes: 0 done; 1 it ran and found problems; 2 usage or invalid input; 3 refused by
ownership or policy; 4 not found; 5 conflict; 70 internal error; 75 outcome unknown. An
interrupted command ends with 130, a command whose output pipe was closed with 141.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import IO

import click

from tenure.domain.errors import (
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Refused,
    TenureError,
)
from tenure.runtime.inherited_state import put_right
from tenure.surfaces.cli.command import LazyGroup, ReaderGone, Verb, Where

_CLI = "tenure.surfaces.cli."

VERBS = {
    "serve": (_CLI + "serve:serve", "Run the scheduler in the foreground."),
    "dashboard": (_CLI + "serve:dashboard", "Serve the web page and the API."),
    "add": (_CLI + "edit:add", "Add a job."),
    "apply": (_CLI + "edit:apply", "Make the jobs match a TOML file."),
    "export": (_CLI + "edit:export", "Write the jobs as a TOML file."),
    "import": (_CLI + "import_:import_jobs", "Import the jobs of another scheduler."),
    "list": (_CLI + "jobs:list_jobs", "List the jobs."),
    "show": (_CLI + "jobs:show", "Show a job's full definition."),
    "edit": (_CLI + "edit:edit", "Change a job."),
    "pause": (_CLI + "jobs:pause", "Pause a job, or all."),
    "resume": (_CLI + "jobs:resume", "Resume a job, or all."),
    "remove": (_CLI + "jobs:remove", "Remove a job."),
    "trigger": (_CLI + "requests:trigger", "Ask the owner to run a job now."),
    "cancel": (_CLI + "requests:cancel", "Ask the owner to cancel a run."),
    "retry": (_CLI + "requests:retry", "Ask the owner to run a finished run's job again."),
    "requests": (_CLI + "requests:requests", "List requests to the owner, or cancel one."),
    "runs": (_CLI + "runs:runs", "List runs."),
    "logs": (_CLI + "runs:logs", "Show a run's output."),
    "next": (_CLI + "jobs:upcoming", "Show the next scheduled runs."),
    "status": (_CLI + "status:status", "Show the owner, the scheduler processes and warnings."),
    "explain": (_CLI + "jobs:explain", "Show whether a job would run now, and why not."),
    "whoami": (_CLI + "owner:whoami", "Show how the owner rules classify this process."),
    "owner": (_CLI + "owner:owner", "Show the owner and its rules; hand over, take, release."),
    "profile": (_CLI + "maintenance:profile", "List, adopt or remove profiles."),
    "backup": (_CLI + "maintenance:backup", "Write a backup of the store."),
    "restore": (_CLI + "maintenance:restore", "Replace the store by a backup."),
    "migrate": (_CLI + "maintenance:migrate", "Upgrade the store to this version's schema."),
    "audit": (_CLI + "maintenance:audit", "Check the recorded history against the contract."),
    "hermes": (
        _CLI + "hermes:hermes",
        "Show or set which process executes Hermes Agent's cron jobs.",
    ),
    "completion": (_CLI + "main:completion", "Print the shell's completion script."),
}


class RootGroup(LazyGroup):
    verbs = VERBS


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from tenure import __version__

        click.echo(f"tenure {__version__}")
        context.exit()


@click.group(
    cls=RootGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Print the version.",
)  # fmt: skip
@click.pass_context
def cli(context: click.Context) -> None:
    """A job scheduler in which each profile has one owner: the process that your rules admit.

    Other processes can view, edit, pause and request runs; only the owner executes them. Shell
    completion: `tenure completion bash` (zsh, fish).
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(tenure completion bash)"      in ~/.bashrc
    zsh:  eval "$(tenure completion zsh)"       in ~/.zshrc, after compinit
    fish: tenure completion fish > ~/.config/fish/completions/tenure.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    print(kind(root, {}, "tenure", "_TENURE_COMPLETE").source())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    put_right()
    try:
        if any("\0" in argument for argument in arguments):
            raise InvalidInput("an argument contains a NUL character")
        _tolerant_output()
        code = cli.main(arguments, prog_name="tenure", standalone_mode=False, obj=Where())
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, ReaderGone):
        _forget(sys.stdout)
        return 141
    except (KeyboardInterrupt, click.Abort):
        return 130
    except click.UsageError as error:
        return _usage(error, arguments)
    except TenureError as error:
        return _failed(error, arguments)
    except click.ClickException as error:
        return _failed(InvalidInput(error.format_message()), arguments)
    except OSError as error:
        if error.filename is None and error.errno in _OF_A_WRITE:
            return _output_failed(error)
        return _failed(_of_the_system(error), arguments)
    except Exception as error:  # noqa: BLE001 - the last resort: one line, and how to learn more
        internal = TenureError(
            f"internal error: {type(error).__name__}: {error}",
            remedy="this is a bug in Tenure; TENURE_DEBUG=1 shows the traceback to report",
        )
        internal.__cause__ = error
        return _failed(internal, arguments)


def _usage(error: click.UsageError, arguments: list[str]) -> int:
    path = error.ctx.command_path if error.ctx else "tenure"
    text = " ".join(error.format_message().split())
    text = text[:1].lower() + text[1:].removesuffix(".")
    remedy = f"`{path} --help` shows the usage"
    if "unexpected extra argument" in text:
        remedy = f"quote what has spaces, such as a job's name; {remedy}"
    return _failed(InvalidInput(text, remedy=remedy), arguments)


def _failed(error: TenureError, arguments: list[str]) -> int:
    from tenure.surfaces.cli.output import print_error

    if os.environ.get("TENURE_DEBUG"):
        import traceback

        traceback.print_exception(error)
    try:
        print_error(error, json=_wants_json(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as failure:
        _forget(sys.stdout)
        if not isinstance(failure, BrokenPipeError):
            # Standard output cannot be written: standard error may still take the text.
            try:
                print_error(error, json=False)
                sys.stderr.flush()
            except OSError:
                _forget(sys.stderr)
    return error.exit_code


def _output_failed(error: OSError) -> int:
    """On standard error also with ``--json``: standard output cannot be written."""
    _forget(sys.stdout)
    return _failed(
        OutcomeUnknown(
            f"the output cannot be written: {error.strerror}",
            remedy="write it elsewhere; the changes of the command were made",
        ),
        [],
    )


_OF_A_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Errors of a write. Other files than standard output are named."""


def _of_the_system(error: OSError) -> TenureError:
    """A full disk or a read-only folder is not a bug of the code."""
    text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Refused(text, remedy="make it writable for this user, or use another --home")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutcomeUnknown(text, remedy="free some space, then try again")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(text, remedy="create the folder first, or use another path")
    return OutcomeUnknown(text, remedy="TENURE_DEBUG=1 shows where")


def _wants_json(arguments: list[str]) -> bool:
    """Also for commands that could not be parsed. What follows ``--`` is the job's command."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]


def _tolerant_output() -> None:
    """Escape text that the terminal's encoding cannot represent."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _forget(stream: IO[str]) -> None:
    """The pipe is closed: the interpreter's flush at exit must not report it."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())

"""The program ``kuttab``: global options, the list of commands, and the one place where errors become messages and exit codes.

Exit codes: 0 ok, 1 the experiment failed, 2 bad input, 130 interrupted with the state kept. Commands import what they need
when they run, so that ``--help`` stays quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from kuttab.__about__ import __version__
from kuttab.base import errors, log
from kuttab.cli import change, controller, exporting, inspect, run, serve, services, tools

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="kuttab",
    help="Search hyper-parameters and architectures: Katib's Experiments on this machine.",
    epilog="Start with: kuttab run examples/quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kuttab {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks and the control plane's log."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Search hyper-parameters and architectures: Katib's Experiments on this machine."""
    del version
    if debug:
        os.environ["KUTTAB_DEBUG"] = "1"
    log.configure("DEBUG" if debug else os.environ.get("KUTTAB_LOG", "ERROR"))


for group in (run, serve, controller, inspect, change, exporting, services, tools):
    group.register(app)


def main() -> None:
    """Entry point of the console script."""
    _leave_out_others(sys.argv[1:])
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def _leave_out_others(arguments: Sequence[str]) -> None:
    """Forget the commands that are not asked for: typer looks through every option of every command that it knows."""
    word = next((argument for argument in arguments if not argument.startswith("-")), "")
    wanted = [info for info in app.registered_commands if word == (info.name or _name(info.callback))]
    if wanted:
        app.registered_commands = wanted


def _name(function: Callable[..., Any] | None) -> str:
    return function.__name__.replace("_", "-") if function is not None else ""


def guarded(call: Callable[[], Any]) -> int:
    """Run a command; every error becomes one or two lines on standard error and an exit code."""
    try:
        code = call()
    except errors.BadInputError as problem:
        return _complain(problem, BAD_INPUT)
    except (errors.NotFoundError, errors.LockedError, errors.CorruptError, errors.AlreadyExistsError) as problem:
        return _complain(problem, BAD_INPUT)
    except errors.KuttabError as problem:
        return _complain(problem, FAILED)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as problem:
        return _usage_or_crash(problem)
    return code if isinstance(code, int) else OK


def _usage_or_crash(problem: Exception) -> int:
    show = getattr(problem, "show", None)
    if callable(show):  # a usage error of the command line library
        show()
        return BAD_INPUT
    if os.environ.get("KUTTAB_DEBUG"):
        raise problem
    typer.echo(
        f"kuttab: internal error: {type(problem).__name__}: {problem}\n"
        "  run again with --debug for the traceback, and please report it",
        err=True,
    )
    return FAILED


def _complain(problem: errors.KuttabError, code: int) -> int:
    if os.environ.get("KUTTAB_DEBUG"):
        raise problem
    if isinstance(problem, errors.InvalidError):
        where = problem.subject or "input"
        for item in problem.problems:
            line = f":{item.line}:{item.column}" if item.line else ""
            typer.echo(f"{where}{line}: {item}", err=True)
        return code
    typer.echo(f"kuttab: {problem.message}", err=True)
    return code

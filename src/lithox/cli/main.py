"""The command `lithox`: runs click, turns whatever goes wrong into one line and an exit status.

Invariants: exit statuses come from the table of errors (0 done, 1 guest, 2 usage, 3 refused,
4 unavailable, 5 our bug); a user's fault never shows a stack trace; results go to stdout, all
else to stderr. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from lithox.cli import (
    commands_data,
    commands_messages,
    commands_moving,
    commands_node,
    commands_programs,
    commands_requests,
    commands_run,
    commands_serve,
    commands_service,
    commands_store,
    commands_timers,
)
from lithox.cli.failures import EXIT_BUG, EXIT_USAGE, show_bug, show_error, show_usage
from lithox.errors import InternalError, LithoxError

EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, what shells give."""
STDOUT_FILE: Final = 1
TRACE_VARIABLE: Final = "LITHOX_TRACE"


class ReaderGone(Exception):
    """Who read what a command prints has gone (`lithox ps | head`)."""


class Commands(click.Group):
    """All commands. A broken pipe is told by a class of its own: click would exit with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="lithox", message="lithox %(version)s")
def cli() -> None:
    """Runs code its operator did not write, next to state nobody may lose.

    A command speaks to the node that --node (or LITHOX_NODE) names; without one it opens the data
    directory --data itself.
    """


for _command in (
    commands_serve.serve,
    commands_run.deploy,
    commands_run.call,
    commands_requests.atomic,
    commands_requests.request,
    commands_requests.callbacks,
    commands_programs.run,
    commands_programs.shell,
    commands_node.ps,
    commands_node.top,
    commands_node.kill,
    commands_data.entity,
    commands_service.service,
    commands_store.store,
    commands_moving.backup,
    commands_moving.restore,
    commands_messages.messages,
    commands_timers.timers,
    commands_node.node,
    commands_node.audit,
):
    cli.add_command(_command)
commands_data.entity.add_command(commands_moving.entity_export)
commands_data.entity.add_command(commands_moving.entity_import)
commands_store.store.add_command(commands_moving.store_migrate)


def main(arguments: list[str] | None = None) -> None:
    """Runs one command line and ends the process with its exit status.

    Args:
        arguments: without the program's name; those of the process if None.
    """
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Returns the exit status of one command line; raises nothing but what ends the process."""
    try:
        outcome = cli.main(args=arguments, prog_name="lithox", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        show_usage(error)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except ReaderGone:
        # Say nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT_FILE)
        return 0
    except LithoxError as error:
        show_error(error)
        return error.exit_status
    except InternalError as error:
        show_bug(error)
        return EXIT_BUG
    except Exception as error:
        if os.environ.get(TRACE_VARIABLE):
            raise
        show_bug(error)
        return EXIT_BUG
    return outcome if isinstance(outcome, int) else 0


if __name__ == "__main__":
    main()

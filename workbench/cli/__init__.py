"""The `workbench` command: what the package does, from a shell.

    options   what the commands share: options, programs of a file, errors with their place
    run       run
    text      asm, disasm, isa, functions
    verify    verify
    objects   cc, info
    plugin    plugin
    agreement agreement
    machine   doctor, demo, bench, reproduce, lab
    labs      labs list, build, check

Exit status: 0 the program came to its exit (`verify`: all were accepted), 1 refused, faulted, out
of fuel or impossible here, 2 wrong usage, 130 interrupted by Ctrl-C. Messages go to standard
error. What a command needs is imported when it runs, so that `--help` answers at once.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from workbench.cli import agreement, labs, machine, objects, plugin, run, text, verify
from workbench.cli.options import INTERRUPTED, complain
from workbench.errors import WorkbenchError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bpf-arena-workbench", prog_name="workbench")
def cli() -> None:
    """Run, step through, draw and compare BPF arena programs.

    A FILE is assembly text (.bpf), bytecode (.hex: 16 hexadecimal digits per instruction), an
    object (.o: from clang or `workbench cc`), or - for standard input. Exit status: 0 ran to its
    exit or was accepted, 1 refused, faulted or out of fuel, 2 wrong usage.
    """


for command in (
    run.run,
    text.asm,
    text.disasm,
    verify.verify,
    agreement.agreement,
    text.isa,
    text.functions,
    objects.cc,
    objects.info,
    machine.demo,
    machine.lab,
    labs.labs,
    machine.doctor,
    machine.bench,
    machine.calibrate,
    machine.reproduce,
    plugin.plugin,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit status; every error is one line, no traceback."""
    try:
        status = cli.main(arguments, prog_name="workbench", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        status = INTERRUPTED
    except (WorkbenchError, MemoryError) as error:
        complain(str(error) or "out of memory")
        status = 1
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        status = 1
    sys.exit(status or 0)

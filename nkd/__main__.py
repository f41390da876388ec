"""`nkd COMMAND`, or `python -m nkd COMMAND`: the commands of the package."""

import argparse
import sys

from nkd import distil_command, export_command
from nkd.claims import command as claims
from nkd.command_line import Command, Parser, called_as, exit_code_of
from nkd.hinton2015 import command as hinton2015
from nkd.runners import CLASSIFICATION, REGRESSION

COMMANDS = {
    "classification": CLASSIFICATION.command,
    "regression": REGRESSION.command,
    "distil": Command(
        distil_command.Flags,
        distil_command.run,
        distil_command.DESCRIPTION,
        "houses.csv --target price --teacher forest",
    ),
    "hinton2015": Command(
        hinton2015.Flags, hinton2015.run, hinton2015.DESCRIPTION, "--quick --seeds 1"
    ),
    "claims": Command(
        claims.Flags,
        claims.run,
        claims.DESCRIPTION,
        "--dataset digits --repetitions 20",
    ),
    "export": Command(
        export_command.Flags,
        export_command.run,
        export_command.DESCRIPTION,
        "runs/regression/student.safetensors student.h",
    ),
}
"""The commands by name. To add one, add it here; `run` imports what takes long to import."""


def main() -> int:
    """Run the command named on the command line; return the exit code."""

    def work() -> None:
        program, width = " ".join(called_as()), max(map(len, COMMANDS))
        lines = (
            f"  {name:{width}}  {command.description.partition(chr(10))[0]}"
            for name, command in COMMANDS.items()
        )
        parser = Parser(
            prog=program,
            usage="%(prog)s COMMAND ...",
            description="\n".join(["Knowledge distillation from scratch.\n\ncommands:", *lines]),
            epilog="`%(prog)s COMMAND --help` lists the flags of a command.\n\n"
            "Example: %(prog)s classification --epochs 5",
        )
        commands = parser.add_subparsers(
            dest="command", metavar="COMMAND", prog=program, required=True, help=argparse.SUPPRESS
        )
        for name, command in COMMANDS.items():
            part = commands.add_parser(name, **command.texts())
            part.add_arguments(command.flags, dest="flags")
        arguments = parser.parse_args()
        COMMANDS[arguments.command].run(arguments.flags)

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m nkd COMMAND`: what the package does besides the two experiments.

`python -m nkd hinton2015` reproduces section 3 of Hinton, Vinyals and Dean 2015;
`python -m nkd export` writes a trained network as ONNX or as a C header.
"""

import sys
from collections.abc import Callable
from typing import Any

import simple_parsing

from nkd import export_command
from nkd.command_line import Parser, exit_code_of
from nkd.hinton2015 import command as hinton2015

COMMANDS: dict[str, tuple[type, Callable[[Any], None], str]] = {
    "hinton2015": (hinton2015.Flags, hinton2015.run, hinton2015.DESCRIPTION),
    "export": (export_command.Flags, export_command.run, export_command.DESCRIPTION),
}


def main() -> int:
    """Run the command named on the command line; return the exit code."""

    def work() -> None:
        options: dict[str, Any] = {
            "add_option_string_dash_variants": simple_parsing.DashVariant.DASH,
            "allow_abbrev": False,
        }
        parser = Parser(prog="python -m nkd", description=__doc__, **options)
        commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
        for name, (flags, _, description) in COMMANDS.items():
            part = commands.add_parser(name, help=description, description=description, **options)
            part.add_arguments(flags, dest="flags")
        arguments = parser.parse_args()
        _, run, _ = COMMANDS[arguments.command]
        run(arguments.flags)

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())

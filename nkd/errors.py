"""What a user's mistake raises, and what ends a run from outside."""


class UserError(ValueError):
    """Something outside the program is wrong: a flag, a file, a missing library or device.

    It is a ValueError, which is what scikit-learn's users expect of an estimator.
    Its message is one line that says what is wrong, where, and what to do. The command line
    prints that line and exits with code 2, without a traceback.
    """

    def __init__(self, message: str = "") -> None:
        # Names and texts from outside may hold line breaks.
        super().__init__(" ".join(message.splitlines()))


class CannotWrite(UserError):
    """A file cannot be written: the disk is full, say. What was written before is safe."""


class Diverged(UserError):
    """A training cannot go on: no network of it has a finite loss."""


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end (SIGTERM); it ends as after Ctrl-C."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message: those of libraries may go on with their own advice."""
    return str(error).partition("\n")[0].rstrip(": ") or type(error).__name__

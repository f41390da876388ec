"""Writing a file: it appears complete or not at all."""

import os
import tempfile
from pathlib import Path

from nkd.errors import UserError


def write(path: Path | str, content: bytes) -> None:
    """Write a file under a temporary name, then rename it.

    Raises:
        UserError: its folder is missing, or it cannot be written there.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); name a file in a folder "
                "that is there"
            ) from None
        raise

"""Files: how one is written, complete or not at all; and safetensors with a header in order."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nkd.errors import CannotWrite, UserError


def write(path: Path | str, *content: bytes | memoryview) -> None:
    """Write a file under a temporary name, and rename it when all of it is on the disk.

    Raises:
        CannotWrite: its folder is missing, or it cannot be written there.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "wb") as file:
            for part in content:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CannotWrite(
                f"{path}: cannot be written ({error.strerror}); name a file in a folder "
                "that is there"
            ) from None
        raise


def to_safetensors(
    tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> tuple[bytes, memoryview]:
    """Header and data of a safetensors file. Equal tensors and metadata give equal bytes."""
    from safetensors.numpy import save

    content = save(tensors, metadata)
    # The header is JSON, after 8 bytes that hold its length. Its metadata come in another order
    # each time, so it is written anew: sorted, and padded to a multiple of 8 as before.
    header, data = split(content)
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, data


def from_safetensors(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and metadata in the bytes of a safetensors file.

    Raises:
        UserError: they are damaged, or hold something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError) as error:  # the latter: types NumPy has not
        reason = " ".join(str(error).split())
        raise UserError(f"no safetensors file of numbers, or a damaged one ({reason})") from None
    return tensors, split(content)[0].get("__metadata__", {})


def split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header of a valid safetensors file, and the bytes of its tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]

"""Files: written complete or not at all, unpacked in bounded memory; safetensors, JSON."""

import errno
import gzip
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nkd.errors import CannotWrite, UserError

CHUNK = 2**17
"""Bytes that are unpacked at a time."""


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
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            advice = "" if full else "; name a file in a folder that is there"
            raise CannotWrite(f"{path}: cannot be written ({error.strerror}){advice}") from None
        raise


def unzipped(content: bytes, most: int) -> bytes:
    """What a gzip file holds, or the first `most` bytes of it if it holds more.

    Raises:
        OSError, EOFError, zlib.error: it is damaged, as far as it was unpacked.
    """
    parts, left = [], most
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        while left and (part := file.read(min(left, CHUNK))):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


def from_json(text: str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none, is nested too deeply, or has characters that cannot be written.
    """
    try:
        said = json.loads(text)
        if "\\u" in text:  # may be half of a pair of surrogates, which UTF-8 has not
            json.dumps(said, ensure_ascii=False).encode()
        return said
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


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
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        # But the first: types and shapes that NumPy has not.
        reason = " ".join(str(error).split())
        raise UserError(f"no safetensors file of numbers, or a damaged one ({reason})") from None
    return tensors, split(content)[0].get("__metadata__", {})


def split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header of a valid safetensors file, and the bytes of its tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]

"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_whole(path, data: bytes) -> None:
    """Write a file, or leave what was there: a full disk or a killed process leaves no half of one."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise

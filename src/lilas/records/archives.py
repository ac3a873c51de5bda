"""Archives of torch: whether they are as they were written."""

import struct
import zipfile
from pathlib import Path
from typing import IO

# What zipfile raises where bytes are not as they were.
_DAMAGE = (RuntimeError, EOFError, zipfile.BadZipFile, ValueError, struct.error)
_ENDLESS = "File is not a zip file"
# Attribute of what an archive calls a folder, of which torch reads zeros.
_FOLDER = 0x10


def damage(file: Path | IO[bytes]) -> str | None:
    """Returns what is wrong with an archive of torch's, in words; None where nothing is.

    Torch itself reads much of what has changed without a word.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                # Torch compresses nothing, and makes no folders.
                if member.external_attr & _FOLDER or member.compress_type != zipfile.ZIP_STORED:
                    return f"{member.filename} is of another kind"
            if name := archive.testzip():
                return f"{name} has another sum"
    except _DAMAGE as error:
        return "its end is missing" if str(error) == _ENDLESS else str(error)
    return None

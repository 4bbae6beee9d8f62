"""Writes that outlive a power cut."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO


def append(file: BinaryIO, data: bytes) -> None:
    """Write and wait until the disk has it."""
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring renames to the disk, where the system can."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

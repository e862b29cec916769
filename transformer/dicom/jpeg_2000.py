"""JPEG 2000 is decoded in a process of its own, which may be ended.

The decoder holds the interpreter while it works, so that nothing else of the service would go on,
and a crafted codestream of a few megabytes keeps it busy for a quarter of a minute or asks for
gigabytes (countless layers in tiny tiles or precincts). To start the process costs less than a
tenth of a second.
"""

import subprocess
import sys
from pathlib import Path

from serving.errors import InvalidImage

PROGRAM = Path(__file__).with_name("jpeg_2000_process.py")
# Of the clock, as a machine may be busy; of the processor's time it gets less.
LIMIT_S = 20.0


def decode_apart(codestream: bytes, size: int) -> bytes:
    """The samples of a codestream, `size` bytes: 8-bit, or 16-bit and little-endian.

    Raises:
        InvalidImage: it cannot be decoded, or not in a bearable time and memory.
    """
    # -P: the folder of the program is not searched for modules.
    command = [sys.executable, "-P", str(PROGRAM)]
    try:
        done = subprocess.run(command, input=codestream, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise InvalidImage(
            "the DICOM file's JPEG 2000 pixels take too long to decode: store it uncompressed"
        ) from error
    if done.returncode != 0 or len(done.stdout) != size:
        raise InvalidImage(
            "the DICOM file's JPEG 2000 pixels cannot be decoded: they are damaged, or need more "
            "memory than any slice should"
        )
    return done.stdout

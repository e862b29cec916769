"""A program: one JPEG 2000 codestream on standard input becomes samples on standard output.

`jpeg_2000.py` runs it for each slice; nothing imports it. The system ends it at its limits.
"""

import io
import resource
import sys

from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

# 4096 x 4096 pixels need 250 MB of addresses and, where the encoder meant well, 1.1 s.
MEMORY_BYTES = 384 * 1024 * 1024
CPU_S = 5


def main() -> None:
    """Decode what comes, or fail; what is wrong is nobody's business but the client's."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    image = Jpeg2KImageFile(io.BytesIO(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(image.tobytes())


if __name__ == "__main__":
    main()

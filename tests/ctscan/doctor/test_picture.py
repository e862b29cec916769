import io

import numpy as np
from PIL import Image

from ctscan.doctor.picture import SEED, golden_slice, png
from serving.phantom import phantom


def test_the_file_is_the_phantom_as_another_library_reads_it() -> None:
    with Image.open(io.BytesIO(golden_slice())) as read:
        assert (read.format, read.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(read), phantom(SEED))


def test_height_and_width_are_not_confused() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    with Image.open(io.BytesIO(png(grey))) as read:
        read.verify()
    with Image.open(io.BytesIO(png(grey))) as read:
        np.testing.assert_array_equal(np.asarray(read), grey)

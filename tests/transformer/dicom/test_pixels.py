import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from serving.settings import Limits
from tests.dicoms import CT_IMAGE
from transformer.dicom.header import read_header
from transformer.dicom.pixels import stored_values

FOLDER = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
# Grey, of one frame and whole, in every packing that is read.
GREY_FILES = (
    *("693_J2KI", "CT_small", "J2K_pixelrep_mismatch", "JPEG2000", "JPEGLSNearLossless_08"),
    *("JPEGLSNearLossless_16", "MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_expb"),
    *("MR_small_implicit", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless"),
    *("MR_small_padded", "examples_overlay"),
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", GREY_FILES)
def test_the_same_values_are_read_as_by_pydicom(name: str) -> None:
    """Most are of other modalities, which their headers are made to keep quiet about."""
    found = pydicom.dcmread(FOLDER / f"{name}.dcm")
    expected = found.pixel_array
    found.Modality, found.SOPClassUID, found.ImageType = "CT", CT_IMAGE, ["ORIGINAL"]
    found.RescaleSlope, found.RescaleIntercept = 1, 0
    target = io.BytesIO()
    found.save_as(target)
    data = target.getvalue()
    header = read_header(data, Limits(min_side_px=1))
    stored, bits = stored_values(data, header)
    values = stored.astype(np.int64) & ((1 << bits) - 1)
    if header.signed:
        values -= (values >> (bits - 1)) << bits
    np.testing.assert_array_equal(values, expected)

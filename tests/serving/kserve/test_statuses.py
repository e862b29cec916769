import pytest
from kserve import errors as sdk

from serving import errors
from serving.errors import ServiceError
from serving.kserve.statuses import translate

SECRET = "Jane Doe"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (sdk.InvalidInput(SECRET), errors.InvalidRequest),
        (sdk.UnsupportedProtocol(SECRET), errors.InvalidRequest),
        (sdk.ModelNotFound(SECRET), errors.UnknownModel),
        (sdk.ModelNotReady(SECRET), errors.Unavailable),
        (sdk.ServerNotReady(SECRET), errors.Unavailable),
        (sdk.ServerNotLive(SECRET), errors.Unavailable),
        (NotImplementedError(SECRET), errors.UnknownModel),
    ],
)
def test_each_of_the_sdks_errors_has_one_of_ours_without_its_text(
    error: Exception, expected: type[ServiceError]
) -> None:
    ours = translate(error)
    assert type(ours) is expected
    assert SECRET not in ours.detail


@pytest.mark.parametrize("error", [ValueError(SECRET), sdk.InferenceError(SECRET), KeyError("x")])
def test_any_other_exception_is_a_defect(error: Exception) -> None:
    assert translate(error) is None


def test_the_sdks_door_reads_an_attribute_that_its_errors_lack() -> None:
    # Why its gRPC door answers UNKNOWN for a model that is not ready; delete `statuses` with it.
    assert not hasattr(sdk.ModelNotReady("ctscan"), "reason")
    assert not hasattr(sdk.ServerNotReady(), "reason")

import pytest
from kserve.errors import ModelNotFound
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane

from serving.kserve.readiness import TruthfulDataPlane
from tests.serving.kserve.toy import Toy, data_plane


@pytest.mark.parametrize("serving", [True, False])
async def test_the_server_is_ready_when_its_model_is(serving: bool) -> None:
    model = Toy()
    model.serving = serving
    plane = data_plane(model)
    assert await plane.ready() is serving
    assert await plane.model_ready("ctscan") is serving


async def test_a_server_without_a_model_is_not_ready() -> None:
    assert await TruthfulDataPlane(ModelRepository()).ready() is False


async def test_one_model_that_is_not_ready_is_enough_to_say_no() -> None:
    plane = data_plane(Toy())
    other = Toy()
    other.serving = False
    plane.model_registry.update(other, "other")
    assert await plane.ready() is False


async def test_the_sdk_calls_itself_ready_and_loads_a_model_on_the_request_path() -> None:
    # What `readiness` mends; delete it when this fails.
    model = Toy()
    model.serving = False
    plane = DataPlane(data_plane(model).model_registry)
    assert await plane.ready() is True
    await plane.get_model("ctscan")
    assert model.loaded == 1


async def test_a_request_neither_loads_the_model_nor_asks_for_its_health() -> None:
    model = Toy()
    model.serving = False
    plane = data_plane(model)
    assert await plane.get_model("ctscan") is model
    assert await plane.model_ready("ctscan", True) is True
    assert model.loaded == 0


async def test_an_unknown_model_is_not_found_whatever_is_asked() -> None:
    plane = data_plane(Toy())
    for call in (
        plane.get_model("other"),
        plane.model_ready("other"),
        plane.model_ready("other", True),
        plane.model_metadata("other"),
        plane.infer("other", {}),
    ):
        with pytest.raises(ModelNotFound):
            await call


async def test_metadata_offers_what_is_served_and_no_more() -> None:
    plane = data_plane(Toy())
    server = plane.metadata()
    assert (server["name"], server["extensions"]) == ("ctscan", ["binary_tensor_data"])
    model = await plane.model_metadata("ctscan")
    assert model == {
        "name": "ctscan",
        "platform": "ctscan",
        "inputs": [{"name": "values", "datatype": "UINT8", "shape": [-1]}],
        "outputs": [
            {"name": "values", "datatype": "UINT8", "shape": [-1]},
            {"name": "names", "datatype": "BYTES", "shape": [-1]},
        ],
    }

import torch
import torchvision

from predictor.networks.resnet18 import ResNet18


def test_keys_and_logits_are_those_of_torchvision_under_backbone() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None, num_classes=4)
    with torch.no_grad():
        theirs(torch.randn(4, 3, 64, 64))  # batch statistics that are not 0 and 1
    theirs.eval()
    ours = ResNet18().eval()
    state = {f"backbone.{key}": value for key, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    rows = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(ours(rows)["logits"], theirs(rows), atol=1e-5, rtol=1e-5)

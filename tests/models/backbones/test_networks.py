"""Our own networks equal those of timm, and need no timm."""

import pytest
import timm
import torch
from torch import nn

from centernet2.models.backbones.networks import OWN, create_network

WANTED = {"out_indices": (2, 3)}  # the last stage of residual networks and DLA is left out


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("options", [{}, WANTED], ids=["all", "two"])
def test_tensors_and_feature_maps_are_those_of_timm(name: str, options: dict[str, object]) -> None:
    with torch.device("meta"):
        ours = create_network(name, **options)
        theirs = timm.create_model(name, features_only=True, **options)
    assert [(key, x.shape) for key, x in ours.state_dict().items()] == [
        (key, x.shape) for key, x in theirs.state_dict().items()
    ]
    maps, expected = ours.feature_info, theirs.feature_info
    assert tuple(maps.out_indices) == tuple(expected.out_indices)
    assert (maps.channels(), maps.reduction()) == (expected.channels(), expected.reduction())
    for index in maps.out_indices:
        assert maps.module_name(index) == expected.module_name(index)
    image = torch.empty(1, 3, 7 * 32, 5 * 32, device="meta")
    assert [x.shape[1:] for x in ours.eval()(image)] == [
        (channels, 7 * 32 // stride, 5 * 32 // stride)
        for channels, stride in zip(maps.channels(), maps.reduction(), strict=True)
    ]


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "tf_efficientnet_lite0", "tf_efficientnet_lite2", "dla34"]
)
def test_outputs_and_gradients_equal_those_of_timm(name: str) -> None:
    torch.manual_seed(0)
    networks = [create_network(name), timm.create_model(name, features_only=True)]
    randomize(networks[1])
    networks[0].load_state_dict(networks[1].state_dict())
    image = torch.randn(2, 3, 64, 96)
    outputs = [network.train()(image) for network in networks]
    for ours, theirs in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, theirs)
    for maps in outputs:
        sum(x.square().mean() for x in maps).backward()
    for parameters in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(*(parameter.grad for parameter in parameters))


def randomize(network: nn.Module) -> None:
    """Give weights and statistics values without zeros."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "tf_efficientnet_lite0", "dla34"])
def test_random_weights_have_the_distribution_of_timm(name: str) -> None:
    torch.manual_seed(0)
    ours = create_network(name).state_dict()
    theirs = timm.create_model(name, features_only=True).state_dict()
    for key, tensor in ours.items():
        wanted = theirs[key].float()
        if tensor.numel() < 1000:  # too few for a comparison of random numbers
            continue
        assert float(tensor.float().std()) == pytest.approx(float(wanted.std()), rel=0.1), key
    for key, tensor in ours.items():
        if ".bn" in key:
            assert torch.equal(tensor, theirs[key]), key


def test_groups_and_widths_equal_those_of_timm() -> None:
    options = {"cardinality": 32, "base_width": 8, "channels": (32, 64, 128, 256)}
    with torch.device("meta"):
        ours = create_network("resnet50", **options).state_dict()
        theirs = timm.create_model("resnet50", features_only=True, **options).state_dict()
    assert {key: x.shape for key, x in ours.items()} == {key: x.shape for key, x in theirs.items()}

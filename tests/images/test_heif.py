"""HEIC photographs: everywhere an image is read, or one sentence that names the extra."""

import base64
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
import yaml

from centernet2 import cli
from centernet2.images import heif
from centernet2.images.image_files import ImageError, image_size, read_image
from centernet2.images.stored_image import StoredImage
from centernet2.predict.sources import find_images
from centernet2.serve.decoding import count_pixels, decode_upload
from centernet2.serve.refusals import Refused
from centernet2.structures import Pixels
from tests.helpers.data import load_split

WIDTH, HEIGHT = 64, 48
# red is 4 x, green 5 y, blue 90
HEIC = base64.b64decode("""
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAA
AAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAJMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAA
AA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNw
AAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFz
wIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAA
Av////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAJttZGF0AAAAjygBrwngPg6bnk4Q
dLDGLT7Bfo0eRrgROeJ8F7zEEF8FD69d93LtsfbcvqzRfLbc/hn+hUXcmLFvpdzIUXSS8a7gBSe8rTuc8C0gyXQfn0OY+DNo
Qjkp3WGmD2ouHsMdFGOrnJA/g9SfP+9b9nSqZ8txox3kKUIYUFhoZ//DpRv7W/E4Shtw8QFDD/1RfFuA
""")
EXTRA = r"centernet2\[heic\]"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a data set of one photograph; torchcodec lacks libheif."""

    def decode_image(content: bytes) -> None:
        raise ImportError("HEIC decoding requires libheif to be installed")

    monkeypatch.setattr("torchcodec.decoders.decode_image", decode_image)
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder / "train").mkdir(parents=True)
    (tmp_path / "data" / "images" / "train" / "a.HEIC").write_bytes(HEIC)
    (tmp_path / "data" / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    content = {"train": "images/train", "names": ["block"]}
    (tmp_path / "data" / "data.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "data"


def assert_is_gradient(pixels: Pixels) -> None:
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wanted = np.stack([4 * x, 5 * y, np.full_like(x, 90)], axis=2)
    assert np.abs(pixels.astype(float) - wanted).mean() < 6


def test_photograph_is_read_everywhere(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pi_heif", reason="the extra [heic] is not installed")
    (photo,) = find_images([data])
    assert_is_gradient(read_image(photo))
    assert image_size(photo) == (HEIGHT, WIDTH)
    assert_is_gradient(decode_upload(HEIC))
    assert count_pixels(HEIC, WIDTH * HEIGHT) == WIDTH * HEIGHT
    with pytest.raises(Refused, match="more than"):
        count_pixels(HEIC, WIDTH * HEIGHT - 1)
    train_set = load_split(data)
    assert train_set.size(0) == (HEIGHT, WIDTH)
    assert train_set.boxes(slice(0, 1)).tolist() == [[24, 12, 40, 36]]
    stored = StoredImage(train_set.image_path(0).read_bytes(), "a.HEIC", HEIGHT, WIDTH)
    assert_is_gradient(stored.decode().permute(1, 2, 0).numpy())
    cli.app(["check", str(data), "--findings-only"], exit_on_error=False)
    assert "no problems" in capsys.readouterr().out


def test_missing_package_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "PLUGINS", ("no_such_package",))
    monkeypatch.setattr("PIL.Image.ID", [])  # nor has another test registered it
    (photo,) = find_images([data])
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=rf"a\.HEIC: .*HEIC.*{EXTRA}"):
            read(photo)
    with pytest.raises(ValueError, match=EXTRA):
        load_split(data)
    with pytest.raises(Refused, match=EXTRA) as refused:
        count_pixels(HEIC, WIDTH * HEIGHT)
    assert refused.value.status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE

import http.server
import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from centernet2.data import storage
from centernet2.data.dataset import DetectionDataset, concatenate
from centernet2.data.image import ImageError, read_image
from centernet2.data.loader import eval_batches, train_batches
from centernet2.data.readers.catalog import load_dataset
from centernet2.data.resize import FitShortestEdge
from centernet2.data.samplers import ShuffledSampler
from centernet2.data.shards import find_shards, in_shards, list_members
from centernet2.data.storage import address, read_bytes
from centernet2.data.transforms import RandomFlip, TrainTransform
from centernet2.structures import Batch

COUNT = 8
PLAIN = TrainTransform(steps=(RandomFlip(direction="horizontal"),))


@pytest.fixture
def annotations(write: Callable[[Any], Path]) -> Path:
    """Eight images of noise, each with a box."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": 20, "width": 24 + i} for i in range(COUNT)
    ]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 10, 9]} for i in range(COUNT)
    ]
    return write(
        {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    )


@pytest.fixture
def images(annotations: Path) -> Path:
    return annotations.parent.parent / "images"


@pytest.fixture
def shards(images: Path) -> Path:
    """The images in three tar files, with the text files that WebDataset has beside them."""
    folder = images.parent / "shards"
    folder.mkdir()
    for shard in range(3):
        with tarfile.open(folder / f"part-{shard:03d}.tar", "w") as archive:
            for i in range(shard, COUNT, 3):
                archive.add(images / f"{i}.png", f"./some/{i}.png")
                text = tarfile.TarInfo(f"./some/{i}.json")
                text.size = 2
                archive.addfile(text, io.BytesIO(b"{}"))
    return folder


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with ranges, as every object store serves them; `failures` requests fail first."""

    failures = 0

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        if type(self).failures > 0:
            type(self).failures -= 1
            return self.send_error(503)
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not wanted or not path.is_file():
            return super().do_GET()
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups()  # type: ignore[union-attr]
        content = path.read_bytes()
        part = content[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header(
            "Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
        )
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def server(annotations: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="reading over HTTP needs the extra 'remote'")
    monkeypatch.setattr(storage, "RETRY_PAUSES", (0.01, 0.02, 0.04))
    Handler.failures = 0
    handler = partial(Handler, directory=str(annotations.parent.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def load(annotations: Path, place: object) -> DetectionDataset:
    return load_dataset(data=None, data_path=None, names=(f"{annotations}@{place}",), split="train")


def training(
    dataset: DetectionDataset, count: int, *, start_step: int = 0, num_workers: int = 0
) -> list[Batch]:
    batches = train_batches(
        dataset, PLAIN, ShuffledSampler(COUNT, seed=5), batch_size=2, num_workers=num_workers, start_step=start_step,
        aspect_ratio_grouping=True, rank=0, world_size=1,
    )  # fmt: skip
    return list(islice(batches, count))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert [batch.image_ids for batch in first] == [batch.image_ids for batch in second]
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("https://host/a/b.jpg", "https://host/a/b.jpg"),
        ("https:/host/a", "https://host/a"),
        ("/work/here/s3:/bucket/a.tar/b.jpg@0+1", "s3://bucket/a.tar/b.jpg@0+1"),
        ("/data/images/1.jpg", None),
        ("C:/data/1.jpg", None),
        ("notes:/1.jpg/", "notes://1.jpg/"),
        ("a.http:/b", None),
    ],
)
def test_what_is_an_address(path: str, expected: str | None) -> None:
    assert address(path) == expected
    assert address(Path(path)) == (expected.rstrip("/") if expected else None)


def test_shards_are_as_good_as_files(annotations: Path, images: Path, shards: Path) -> None:
    plain, packed = load(annotations, images), load(annotations, shards)
    assert_same(training(plain, 10), training(packed, 10, num_workers=2))
    assert_same(training(plain, 10)[6:], training(packed, 4, start_step=6))
    both = [
        list(eval_batches(each, FitShortestEdge(length=30, max_size=99), batch_size=2, num_workers=1, rank=0,
                          world_size=1))
        for each in (plain, packed)
    ]  # fmt: skip
    assert_same(*both)


def test_an_image_in_a_shard_is_found_by_its_whole_name_or_its_last_part(shards: Path) -> None:
    found = in_shards(["some/0.png", "1.png", "other/2.png"], find_shards(str(shards)))
    assert [name.partition("@")[0] for name in found] == [
        f"part-00{i}.tar/some/{i}.png" for i in range(3)
    ]


def test_names_that_do_not_decide_are_refused(shards: Path, images: Path) -> None:
    with tarfile.open(shards / "part-009.tar", "w") as archive:
        archive.add(images / "0.png", "elsewhere/0.png")
    with pytest.raises(ValueError, match=r"'0.png' may be some/0.png or elsewhere/0.png"):
        list(in_shards(["0.png"], find_shards(str(shards))))


def test_shards_of_other_images_are_refused(shards: Path) -> None:
    with pytest.raises(ValueError, match=r"none of the images is in the 3 shards, such as 'x.jpg'"):
        list(in_shards(["x.jpg", "y.jpg"], find_shards(str(shards))))


def test_an_image_that_is_in_no_shard_is_a_missing_file(annotations: Path, shards: Path) -> None:
    (shards / "part-001.tar").unlink()
    dataset = load(annotations, shards)
    with pytest.raises(ImageError, match=r"1\.png: the image cannot be opened \(No such file"):
        read_image(dataset.image_path(1))


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    tarfile.open(tmp_path / "a.tar", "w:gz").close()
    with pytest.raises(ValueError, match=r"a\.tar: not a readable tar file .*not compressed"):
        list_members([str(tmp_path / "a.tar")])


def test_a_shard_that_was_replaced_is_noticed(annotations: Path, shards: Path) -> None:
    dataset = load(annotations, shards)
    for shard in shards.iterdir():
        shard.write_bytes(b"short")
    with pytest.raises(ImageError, match="not the one that was indexed"):
        read_image(dataset.image_path(0))


def test_which_shards_are_meant(shards: Path, images: Path) -> None:
    assert len(find_shards(str(shards))) == 3
    assert find_shards(f"{shards}/part-{{000..002}}.tar") == find_shards(str(shards))
    assert find_shards("https://host/{8..10}.tar") == [f"https://host/{i}.tar" for i in (8, 9, 10)]
    assert find_shards(str(images)) == []
    (images / "all.tar").write_bytes(b"")  # the archive that the images were unpacked from
    assert find_shards(str(images)) == []


def test_images_at_an_address(annotations: Path, images: Path, server: str) -> None:
    plain, remote = load(annotations, images), load(annotations, f"{server}/images")
    assert_same(training(plain, 8), training(remote, 8, num_workers=2))
    assert_same(training(plain, 8)[5:], training(remote, 3, start_step=5))
    assert_same(training(concatenate([plain]), 2), training(remote, 2))


def test_shards_at_an_address(annotations: Path, images: Path, shards: Path, server: str) -> None:
    remote = load(annotations, f"{server}/shards/part-{{000..002}}.tar")
    assert_same(training(load(annotations, images), 8), training(remote, 8, num_workers=2))


def test_joined_data_sets_may_lie_in_different_places(
    annotations: Path, images: Path, server: str
) -> None:
    plain, remote = load(annotations, images), load(annotations, f"{server}/images")
    joined = concatenate([remote, plain])
    for i in range(COUNT):
        assert torch.equal(
            read_image(joined.image_path(i)), read_image(joined.image_path(COUNT + i))
        )


def test_shards_of_a_bucket() -> None:
    fsspec = pytest.importorskip("fsspec")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("1.jpg")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"bytes"))
    system = fsspec.filesystem("memory")
    system.pipe("/bucket/b.tar", content.getvalue())
    shards = find_shards("memory://bucket")
    (place,) = list_members(shards).values()
    assert read_bytes(Path(f"{shards[0]}/1.jpg@{place.start}+{place.size}")) == b"bytes"
    system.rm("/bucket", recursive=True)


def test_a_server_that_fails_now_and_then_is_asked_again(images: Path, server: str) -> None:
    Handler.failures = 2
    assert read_bytes(f"{server}/images/0.png") == (images / "0.png").read_bytes()


def test_a_server_that_stays_away_is_named(server: str) -> None:
    Handler.failures = 100
    with pytest.raises(
        ImageError, match=r"0\.png: the image cannot be opened \(.*503.* after 4 tries\)"
    ):
        read_image(f"{server}/images/0.png")


def test_an_image_that_the_server_does_not_have_is_missing(server: str) -> None:
    with pytest.raises(
        ImageError, match=r"nowhere\.png: the image cannot be opened \(No such file"
    ):
        read_image(f"{server}/images/nowhere.png")


def test_a_missing_package_is_named_before_training(
    annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ValueError, match=r"pip install 'centernet2\[remote\]'"):
        load(annotations, "https://host/images")


def test_a_scheme_without_its_package_is_named(annotations: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ValueError, match="nothing://"):
        load(annotations, "nothing://host/images")


def test_members_of_many_shards_take_no_python_object_each_in_the_index(
    annotations: Path, shards: Path
) -> None:
    files = load(annotations, shards).files
    assert files.dtype.kind == "S"
    assert np.array_equal(files, load(annotations, shards).subset(np.arange(COUNT)).files)

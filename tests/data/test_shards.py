import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from centernet2.data import eval_batches
from centernet2.data.shards import find_shards, in_shards, list_members
from centernet2.images.image_files import ImageError, read_image
from centernet2.images.resize import FitShortestEdge
from centernet2.images.storage import read_bytes
from tests.helpers.data import assert_same_batches, first_batches, load_by_files


def test_shards_give_the_batches_of_files(annotations: Path, images: Path, shards: Path) -> None:
    plain, packed = load_by_files(annotations, images), load_by_files(annotations, shards)
    assert_same_batches(first_batches(plain, 10), first_batches(packed, 10, num_workers=2))
    assert_same_batches(first_batches(plain, 10)[6:], first_batches(packed, 4, start_step=6))
    resize = FitShortestEdge(length=30, max_size=99)
    both = [
        list(eval_batches(each, resize, batch_size=2, num_workers=1, rank=0, world_size=1))
        for each in (plain, packed)
    ]
    assert_same_batches(*both)


def test_images_found_by_full_or_last_name(shards: Path) -> None:
    found = in_shards(["some/0.png", "1.png", "other/2.png"], find_shards(str(shards)))
    assert [name.partition("@")[0] for name in found] == [
        f"part-00{i}.tar/some/{i}.png" for i in range(3)
    ]


def test_ambiguous_names_are_refused(shards: Path, images: Path) -> None:
    with tarfile.open(shards / "part-009.tar", "w") as archive:
        archive.add(images / "0.png", "elsewhere/0.png")
    with pytest.raises(ValueError, match=r"'0.png' may be some/0.png or elsewhere/0.png"):
        list(in_shards(["0.png"], find_shards(str(shards))))


def test_shards_of_other_images_are_refused(shards: Path) -> None:
    with pytest.raises(ValueError, match=r"none of the images is in the 3 shards, such as 'x.jpg'"):
        list(in_shards(["x.jpg", "y.jpg"], find_shards(str(shards))))


def test_image_in_no_shard_is_missing(annotations: Path, shards: Path) -> None:
    (shards / "part-001.tar").unlink()
    dataset = load_by_files(annotations, shards)
    with pytest.raises(ImageError, match=r"1\.png: the image cannot be opened \(No such file"):
        read_image(dataset.image_path(1))


def test_compressed_shard_is_refused(tmp_path: Path) -> None:
    tarfile.open(tmp_path / "a.tar", "w:gz").close()
    with pytest.raises(ValueError, match=r"a\.tar: not a readable tar file .*not compressed"):
        list_members([str(tmp_path / "a.tar")])


def test_replaced_shard_is_noticed(annotations: Path, shards: Path) -> None:
    dataset = load_by_files(annotations, shards)
    for shard in shards.iterdir():
        shard.write_bytes(b"short")
    with pytest.raises(ImageError, match="has changed since it was indexed"):
        read_image(dataset.image_path(0))


def test_ranges_and_folders_of_shards(shards: Path, images: Path) -> None:
    assert len(find_shards(str(shards))) == 3
    assert find_shards(f"{shards}/part-{{000..002}}.tar") == find_shards(str(shards))
    assert find_shards("https://host/{8..10}.tar") == [f"https://host/{i}.tar" for i in (8, 9, 10)]
    assert find_shards(str(images)) == []
    (images / "all.tar").write_bytes(b"")  # the archive that the images were unpacked from
    assert find_shards(str(images)) == []


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


def test_index_holds_members_as_bytes(annotations: Path, shards: Path) -> None:
    files = load_by_files(annotations, shards).files
    assert files.dtype.kind == "S"
    assert np.array_equal(files, load_by_files(annotations, shards).subset(np.arange(8)).files)

import http.server
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centernet2.data import concatenate
from centernet2.images import storage
from centernet2.images.image_files import ImageError, read_image
from centernet2.images.storage import read_bytes, remote_url, shown_name
from tests.helpers.data import assert_same_batches, first_batches, load_by_files


@pytest.mark.parametrize(("path", "shown"), [
    ("rtsp://me:se:cr@t@camera:554//live", "rtsp://me:***@camera:554//live"),
    (Path("https://me:secret@host/a.jpg"), "https://me:***@host/a.jpg"),
    ("https://me@host/a@b:c.jpg", "https://me@host/a@b:c.jpg"),
    ("folder/me:secret@1.jpg", "folder/me:secret@1.jpg"),
])  # fmt: skip
def test_passwords_are_not_shown(path: Path | str, shown: str) -> None:
    assert shown_name(path) == shown


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serve ranges of files as an object store does, after `failures` errors."""

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
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        assert match is not None
        first, last = match.groups()
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


@pytest.mark.parametrize(("path", "expected"), [
    ("https://host/a/b.jpg", "https://host/a/b.jpg"),
    ("https:/host/a", "https://host/a"),
    ("/work/here/s3:/bucket/a.tar/b.jpg@0+1", "s3://bucket/a.tar/b.jpg@0+1"),
    ("file:///data/images/1.jpg", "file:///data/images/1.jpg"),
    ("/data/images/1.jpg", None),
    ("C:/data/1.jpg", None),
    ("notes:/1.jpg/", "notes://1.jpg/"),
    ("a.http:/b", None),
])  # fmt: skip
def test_remote_urls_and_local_paths(path: str, expected: str | None) -> None:
    assert remote_url(path) == expected
    assert remote_url(Path(path)) == (expected.rstrip("/") if expected else None)


def test_remote_images_give_the_same_batches(annotations: Path, images: Path, server: str) -> None:
    plain, remote = (load_by_files(annotations, p) for p in (images, f"{server}/images"))
    assert_same_batches(first_batches(plain, 8), first_batches(remote, 8, num_workers=2))
    assert_same_batches(first_batches(plain, 8)[5:], first_batches(remote, 3, start_step=5))
    assert_same_batches(first_batches(concatenate([plain]), 2), first_batches(remote, 2))


def test_remote_shards_give_the_same_batches(
    annotations: Path, images: Path, shards: Path, server: str
) -> None:
    remote = load_by_files(annotations, f"{server}/shards/part-{{000..002}}.tar")
    assert_same_batches(
        first_batches(load_by_files(annotations, images), 8),
        first_batches(remote, 8, num_workers=2),
    )


def test_join_local_and_remote_data_sets(annotations: Path, images: Path, server: str) -> None:
    plain, remote = (load_by_files(annotations, p) for p in (images, f"{server}/images"))
    joined = concatenate([remote, plain])
    for i in range(len(plain)):
        assert np.array_equal(
            read_image(joined.image_path(i)), read_image(joined.image_path(len(plain) + i))
        )


def test_failed_requests_are_retried(images: Path, server: str) -> None:
    Handler.failures = 2
    assert read_bytes(f"{server}/images/0.png") == (images / "0.png").read_bytes()


def test_unavailable_server_is_named(server: str) -> None:
    Handler.failures = 100
    with pytest.raises(ImageError, match=r"0\.png: .* cannot be opened \(.*503.* after 4 tries\)"):
        read_image(f"{server}/images/0.png")
    assert Handler.failures == 96


def test_image_missing_on_the_server(server: str) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png: the image cannot be opened \(No such"):
        read_image(f"{server}/images/nowhere.png")


def test_no_package_is_named_at_once(annotations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ValueError, match=r"pip install 'centernet2\[remote\]'"):
        load_by_files(annotations, "https://host/images")


def test_unknown_scheme_is_named(annotations: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ValueError, match="nothing://"):
        load_by_files(annotations, "nothing://host/images")

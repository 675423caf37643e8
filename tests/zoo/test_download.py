"""Downloads from a local server: complete, interrupted, changed, unavailable."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.builders.detector import loading
from centernet2.builders.detector.loading import load_for_inference, load_model
from centernet2.builders.training.training_start import FromScratch, choose_start
from centernet2.checkpoint import WeightsError, export_reference_checkpoint
from centernet2.kernels import fast_memory_format
from centernet2.zoo import download
from centernet2.zoo import published as published_models
from centernet2.zoo.download import (
    DownloadError,
    fetch,
    record_of,
    sha256,
    zoo_file,
)
from centernet2.zoo.published import zoo_model

CONTENT = bytes(range(256)) * 8000  # 2 MB
FIRST_PART = 512 * 1024  # one of the pieces in which gdown writes


class Server(ThreadingHTTPServer):
    """Serve `content` in ranges; cut `breaks` answers after FIRST_PART bytes."""

    content = CONTENT
    breaks = 0
    requests: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        ranges = self.headers.get("Range")
        self.server.requests.append(ranges or "all")
        start = int(ranges.removeprefix("bytes=").rstrip("-")) if ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if ranges else 200)
        if ranges:
            self.send_header(
                "Content-Range",
                f"bytes {start}-{len(self.server.content) - 1}/{len(self.server.content)}",
            )
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            body = body[:FIRST_PART]
        with suppress(ConnectionError):  # who resumes hangs up on the first answer
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CENTERNET2_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def source(server: Server) -> tuple[str, str]:
    """The address of a file, and of its page."""
    return f"http://127.0.0.1:{server.server_port}/w.pth", "http://page"


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".download" in path.name]


def test_file_is_downloaded_once_with_digest(server: Server, cache: Path) -> None:
    path = fetch(cache / "w.pth", *source(server))
    assert path.read_bytes() == CONTENT
    assert record_of(path).read_text() == f"{sha256(path)}  w.pth\n"
    assert not left_over(cache)
    assert fetch(cache / "w.pth", *source(server)) == path
    assert server.requests == ["all"]


def test_broken_connection_is_retried(server: Server, cache: Path) -> None:
    server.breaks = 1
    assert fetch(cache / "w.pth", *source(server)).read_bytes() == CONTENT
    assert server.requests == ["all", f"bytes={FIRST_PART}-"]


def test_download_resumes(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRIES", 0)
    server.breaks = 1
    with pytest.raises(
        DownloadError, match=r"w\.pth could not be downloaded .* the next attempt resumes it"
    ):
        fetch(cache / "w.pth", *source(server))
    assert not (cache / "w.pth").exists()
    assert fetch(cache / "w.pth", *source(server)).read_bytes() == CONTENT
    assert server.requests[-1] == f"bytes={FIRST_PART}-"
    assert not left_over(cache)


def test_changed_file_is_refused(server: Server, cache: Path) -> None:
    path = fetch(cache / "w.pth", *source(server))
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=r"w\.pth has changed since its first use"):
        fetch(path, *source(server))
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(DownloadError, match="http://page now holds another file"):
        fetch(path, *source(server))
    assert not path.exists() and not left_over(cache)
    server.content = CONTENT
    assert fetch(path, *source(server)).read_bytes() == CONTENT


def test_error_without_network_names_the_path(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRIES", 0)
    path = cache / "w.pth"
    with pytest.raises(DownloadError, match=rf"get http://page with a .* and put it at {path}"):
        fetch(path, "http://127.0.0.1:9/w.pth", "http://page")


def test_unreleased_weights_are_refused(cache: Path) -> None:
    with pytest.raises(ValueError, match=r"no weights of CenterNet2-F_R50_1x: never released"):
        zoo_file("zoo:CenterNet2-F_R50_1x")
    assert not cache.exists()


@pytest.fixture
def published(cache: Path) -> Path:
    """Put a published model's file, with random weights, in the cache by hand."""
    cache.mkdir()
    path = cache / "CenterNet-FPN_R50_1x.pth"
    export_reference_checkpoint(centernet2.build_model("CenterNet-FPN_R50_1x"), path)
    return path


def test_published_model_has_config_and_classes(published: Path) -> None:
    model = load_model("zoo:CenterNet-FPN_R50_1x", ["INPUT.MIN_SIZE_TEST", "64"])
    assert (
        not model.training
        and len(model.info.class_names) == 80
        and model.info.class_names[0] == "person"
    )
    assert record_of(published).is_file()
    same = centernet2.build_model("CenterNet-FPN_R50_1x", weights="zoo:CenterNet-FPN_R50_1x")
    state = torch.load(published, weights_only=True)["model"]
    assert torch.equal(same.neck.p6.weight, state["backbone.top_block.p6.weight"])
    published.write_bytes(b"other")
    with pytest.raises(DownloadError, match="has changed"):
        load_model("zoo:CenterNet-FPN_R50_1x")


@pytest.mark.usefixtures("published")
def test_published_model_is_loaded_whole() -> None:
    with pytest.raises(WeightsError, match=r"FPN_R50_1x .* does not hold all weights"):
        load_model("zoo:CenterNet-FPN_R50_1x", ["MODEL.CENTERNET.NUM_CLASSES", "7"])


def test_published_batch_norm_model_is_fast(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With batch normalization, its format depends on the mode in which it is placed."""
    options = ["MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", "0"]
    config = centernet2.load_config("CenterNet2_R18_small", options)
    row = zoo_model("CenterNet2_R50_1x")._replace(name="small", config=config.name)
    monkeypatch.setattr(published_models, "zoo_models", lambda: (row,))
    monkeypatch.setattr(loading, "optimize_for_inference", lambda model, **options: model)
    cache.mkdir()
    export_reference_checkpoint(centernet2.build_model(config), cache / "small.pth")
    for model in (
        load_model("zoo:small", options),
        load_for_inference("zoo:small", config=config, device="cpu"),
        load_for_inference(cache / "small.pth", config=config, device="cpu"),
    ):
        last = torch.channels_last
        assert fast_memory_format(model, torch.device("cpu")) == last and not model.training
        weights = [weight for weight in model.parameters() if weight.dim() == 4]
        assert weights and all(weight.is_contiguous(memory_format=last) for weight in weights)


def test_detectron2_addresses_are_cached(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
    expected = cache / "ImageNetPretrained" / "MSRA" / "R-50.pkl"
    with pytest.raises(
        DownloadError,
        match=rf"put the file https://\S+/ImageNetPretrained/MSRA/R-50\.pkl at {expected}",
    ):
        centernet2.build_model("CenterNet2_R18_small", weights=address)
    with caplog.at_level("WARNING"):
        config = centernet2.load_config("CenterNet2_R50_1x")
        assert choose_start(config, cache) == FromScratch()
    assert f"at {expected}. Training from scratch" in caplog.text
    expected.parent.mkdir(parents=True)
    expected.write_bytes(b"no pickle")
    with pytest.raises(ValueError, match=r"R-50\.pkl is not a readable pickle"):
        choose_start(config, cache)


def test_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="weights is empty"):
        centernet2.build_model("CenterNet2_R18_small", weights="")

"""Videos: films and cameras as jobs with a bounded life."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from centernet2.serve.refusals import Refused
from centernet2.serve.service import Service, ServiceOptions
from centernet2.serve.video_jobs import VideoJobs, VideoOptions
from tests.helpers.films import require_av, write_film
from tests.helpers.serving import StandIn, client_of, make_service, wait_until

FILM = {"Content-Type": "video/mp4"}


def service_with(predictor: StandIn | None = None, **options: Any) -> Service:
    return make_service(predictor, ServiceOptions(videos=VideoOptions(**options)))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    require_av()
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", 9).read_bytes()


def upload(client: TestClient, content: bytes, query: str = "") -> str:
    answer = client.post(f"/videos?{query}", content=content, headers=FILM)
    assert answer.status_code == 202, answer.text
    number: str = answer.json()["id"]
    return number


def state(client: TestClient, number: str) -> str:
    found: str = client.get(f"/videos/{number}").json()["state"]
    return found


def test_film_gives_a_line_for_each_frame_and_a_drawn_film(film: bytes) -> None:
    service = service_with()
    with client_of(service) as client:
        number = upload(client, film, "score_threshold=0.6&draw=true")
        wait_until(lambda: state(client, number) == "done", 60)
        film_file = service.videos.get(number).folder / "film"
        wait_until(lambda: not film_file.exists())  # which nobody needs any more
        assert client.get(f"/videos/{number}").json() == {
            "id": number, "state": "done", "frames": 9, "total": 9,
        }  # fmt: skip
        text = client.get(f"/videos/{number}/detections").text
        lines = [json.loads(line) for line in text.splitlines()]
        assert [each["frame"] for each in lines] == [*range(9)]
        assert all(len(each["detections"]) == 1 for each in lines)
        drawn = client.get(f"/videos/{number}/film")
        assert (drawn.status_code, drawn.headers["content-type"]) == (200, "video/mp4")
        assert client.delete(f"/videos/{number}").status_code == 204
        assert client.get(f"/videos/{number}").status_code == 404


@pytest.mark.parametrize(("query", "content", "status", "sentence"), [
    ("", b"", 422, "the film is empty"),
    ("", b"no film at all", 415, "cannot be read as a film"),
    ("", b"ffconcat version 1.0\nfile 'film'\n", 415, "(Invalid argument)"),  # a list of itself
    ("camera=door", b"", 422, "there is no camera 'door'; did you mean 'doors'?"),
    ("camera=http://10.0.0.1/", b"", 422, "there is no camera"),
    ("classes=bird", b"x", 422, "has no class 'bird'"),
    ("format=png", b"x", 422, "there is no option 'format'"),  # of single images
])  # fmt: skip
def test_other_uploads_are_refused(query: str, content: bytes, status: int, sentence: str) -> None:
    require_av()
    with client_of(service_with(cameras={"doors": "tcp://127.0.0.1:9"})) as client:
        answer = client.post(f"/videos?{query}", content=content, headers=FILM)
        assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True)


def test_form_in_place_of_a_film_is_refused(film: bytes) -> None:
    with client_of(service_with()) as client:
        answer = client.post("/videos", files={"file": ("a.mp4", film, "video/mp4")})
        assert (answer.status_code, "the film itself as the body" in answer.text) == (415, True)


def test_film_that_is_too_large_is_413(film: bytes) -> None:
    with client_of(service_with(max_bytes=100)) as client:
        assert client.post("/videos", content=film, headers=FILM).status_code == 413


def test_too_many_films_at_a_time_are_429(film: bytes) -> None:
    predictor = StandIn()
    with client_of(service_with(predictor, max_jobs=1)) as client:
        predictor.may_run.clear()
        first = upload(client, film)
        refused = client.post("/videos", content=film, headers=FILM)
        assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
        predictor.may_run.set()
        wait_until(lambda: state(client, first) == "done", 60)
        upload(client, film)


def test_a_film_that_arrives_has_its_place() -> None:
    jobs = VideoJobs(VideoOptions(max_jobs=1))
    for _ in range(2):  # the place is free again after the first time
        with (
            jobs.room(),
            pytest.raises(Refused, match="1 of 1 places for videos are taken"),
            jobs.room(),
        ):
            pass


def test_camera_that_never_connected_can_be_stopped() -> None:
    require_av()
    with socket.socket() as silent:  # accepts connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        service = service_with(cameras={"door": address}, connect_seconds=2.0, max_jobs=1)
        with client_of(service) as client:
            number = upload(client, b"", "camera=door")
            time.sleep(0.3)
            assert state(client, number) == "running"
            started = time.monotonic()
            assert client.delete(f"/videos/{number}").status_code == 204
            assert time.monotonic() - started < 1.5  # without waiting for the camera
            assert client.get(f"/videos/{number}").status_code == 404
            wait_until(lambda: not service.videos._active, 30)  # its thread and place are free
            upload(client, b"", "camera=door")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "rtsp://user:secret@127.0.0.1:9//1/"])
def test_camera_that_does_not_answer_fails_with_its_name_alone(address: str) -> None:
    require_av()
    options = {"cameras": {"door": address}, "connect_seconds": 1.0}
    with client_of(service_with(**options)) as client:
        number = upload(client, b"", "camera=door")
        wait_until(lambda: state(client, number) == "failed", 30)
        error = client.get(f"/videos/{number}").json()["error"]
        assert ("door" in error, "127.0.0.1" in error, "secret" in error) == (True, False, False)


def test_life_of_a_job_and_of_its_results_is_bounded(film: bytes) -> None:
    service = service_with(StandIn(delay=0.2), max_seconds=0.5, keep_seconds=0.5)
    with client_of(service) as client:
        number = upload(client, film)
        folder = service.videos.get(number).folder
        wait_until(lambda: state(client, number) == "stopped", 60)
        wait_until(lambda: client.get(f"/videos/{number}").status_code == 404)
        assert not folder.exists()


def test_film_that_stays_open_does_not_keep_a_job(
    film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows deletes no open file."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(path)

    with client_of(service_with(keep_seconds=0.5)) as client:
        number = upload(client, film)
        monkeypatch.setattr(Path, "unlink", refuse)
        wait_until(lambda: client.get(f"/videos/{number}").status_code == 404, 60)


def test_film_that_cannot_be_drawn_fails_without_paths_of_the_server(tmp_path: Path) -> None:
    wide = write_film(tmp_path / "a.avi", 2, codec="mjpeg", size=(32, 17_000)).read_bytes()
    with client_of(service_with()) as client:
        number = upload(client, wide, "draw=true")
        wait_until(lambda: state(client, number) == "failed", 60)
        error = client.get(f"/videos/{number}").json()["error"]
    assert error == (
        "the film: frames of 17000 x 32 pixels cannot be encoded by libx264; ask without draw"
    )


def test_end_of_the_service_leaves_no_files(film: bytes) -> None:
    service = service_with(StandIn(delay=0.1))
    with client_of(service) as client:
        folder: Path = service.videos.get(upload(client, film)).folder
        assert folder.exists()
    assert not folder.exists()

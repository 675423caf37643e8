"""Run the code blocks of a page of the documentation, in order, in one folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import centernet2
from docs.blocks import RUN, Block, read_blocks
from docs.build_site import ROOT
from tests.helpers.page_folder import SHORT

PLACES = re.compile(r"(?<![\w./])/(data|shared)\b")  # absolute folders: below the page's folder
# Stand-ins of programs. Training is short, images to measure are small, and a service runs beside
# the commands that follow it.
PROGRAMS = {
    "centernet2": f"""
        case $1 in
        train) set -- "$@" {" ".join(map(repr, SHORT))} ;;
        benchmark)
            case "$*" in
            *--sizes*) set -- "${{@/800x1216/96x128}}"; set -- "${{@/640x640/64x64}}" ;;
            *) set -- "$@" --sizes 64x96 ;;
            esac ;;
        # the detector has learnt nothing: no score is high, and int8 moves its detections
        pseudo-label) set -- "${{@/0.5/0}}" ;;
        export) case "$*" in *int8*) set -- "$@" --required-share 0.5 ;; esac ;;
        serve)
            {sys.executable} -m centernet2 "$@" > service.log 2>&1 &
            echo $! > service.pid
            case "$*" in *--port*) port=9090 ;; *) port=8080 ;; esac
            exec curl localhost:$port/ready ;;
        esac
        exec {sys.executable} -IS {ROOT}/tests/helpers/fork_server.py $FORK_SERVER "$@" """,
    "recipe-python": f'exec {sys.executable} "$@" {" ".join(map(repr, SHORT))} MODEL.DEVICE cpu',
    "python": f'exec {sys.executable} "$@"',
    "pip": "exit 0",  # nothing is installed
}
# An answer that is an error fails; what is not there yet, such as a film, is asked for again
CURL = "fail\nsilent\nshow-error\nretry = 60\nretry-delay = 1\nretry-all-errors\n"


def run_page(page: Path, folder: Path, languages: Collection[str] = RUN) -> int:
    """Run the blocks of a page in a folder; return their number.

    Commands are run by the server of tests/helpers/fork_server.py whose socket is $FORK_SERVER.

    Raises:
        AssertionError: if one fails; it names the page and the line.
    """
    names = known_names()
    blocks = [each for each in read_blocks(page) if each.language in languages and not each.reason]
    with programs(folder):
        for block in blocks:
            try:
                run_block(block, folder, names, f"{page.relative_to(ROOT)}:{block.line}")
            except Exception as error:
                raise AssertionError(f"{page}:{block.line} fails: {error}\n{block.text}") from error
    return len(blocks)


def run_block(block: Block, folder: Path, names: dict[str, Any], origin: str) -> None:
    """Run a block; raise the exception that it raises, or RuntimeError if a command fails."""
    text = PLACES.sub(rf"{folder}/\1", block.text)
    if block.language == "python":
        exec(compile(text, origin, "exec"), names)
    elif block.language == "yaml":
        (folder / "config.yaml").write_text(text)
        centernet2.load_config(folder / "config.yaml")
    else:
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", text], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}"[-6000:])


def known_names() -> dict[str, Any]:
    """Return the names that the Python snippets use without defining them."""
    image = torch.randint(256, (3, 64, 96), dtype=torch.uint8)
    target = {"boxes": torch.tensor([[8.0, 8, 40, 48]]), "labels": torch.tensor([1])}
    return {
        "centernet2": centernet2,
        "image": image,
        "images": [image, image],
        "boxes": target["boxes"],
        "batches": [([image / 255], [target])],
    }


@contextmanager
def programs(folder: Path) -> Iterator[None]:
    """Work in the folder, with the stand-ins first on the path; end a service at the end."""
    before, place = dict(os.environ), Path.cwd()
    (folder / "bin").mkdir()
    for name, text in PROGRAMS.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / ".curlrc").write_text(CURL)
    os.environ.update(
        PATH=f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        PYTHONPATH=str(ROOT / "src"),
        PYTHON="recipe-python",
        CURL_HOME=str(folder),
        CENTERNET2_CACHE=str(folder / "cache"),
        RAY_ADDRESS="local",  # whatever cluster runs on this machine
    )
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)
        if (pid := folder / "service.pid").is_file():
            os.kill(int(pid.read_text()), signal.SIGTERM)

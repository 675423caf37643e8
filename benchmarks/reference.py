"""The reference implementation, xingyizhou/CenterNet2 on detectron2, as the peer of detector.py.

python benchmarks/reference.py fetch FOLDER   # sources and pure packages, from the network
python benchmarks/reference.py build FOLDER   # compiles detectron2 for the PyTorch that is there
python benchmarks/detector.py training --peer "python benchmarks/reference.py serve FOLDER"
python benchmarks/job.py --reference FOLDER   # which asks for `train`: its own training script

FOLDER lies outside this repository. What is there is not fetched again, so FOLDER can be carried to
a machine with the same Python but no network, and built there. `serve` speaks the protocol of
detector.py.
"""

import argparse
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sides import scene, serve
from torch import Tensor
from torchvision.ops import deform_conv2d

SOURCES = {  # name: address, commit
    "detectron2": (
        "https://github.com/facebookresearch/detectron2",
        "02b5c4e295e990042a714712c21dc79b731e8833",
    ),
    "CenterNet2": (
        "https://github.com/xingyizhou/CenterNet2",
        "bfc8b72e4e2a1612b4aa4c12f7b3db9cdd7b34c4",
    ),
}
PACKAGES = [  # what the reference imports and PyTorch does not bring
    "antlr4-python3-runtime==4.9.3", "cloudpickle", "contourpy", "cycler", "fonttools",
    "fvcore==0.1.5.post20221221", "hydra-core==1.3.2", "iopath==0.1.9", "kiwisolver", "matplotlib",
    "omegaconf==2.3.0", "opencv-python-headless", "portalocker", "pycocotools", "pyparsing",
    "python-dateutil", "six", "tabulate", "termcolor", "tqdm", "yacs",
]  # fmt: skip


# without it, one-stage detectors end in an error on PyTorch 2: the tensor is not contiguous
MENDED = "CenterNet2/centernet/modeling/dense_heads/centernet.py"
MEND = ("candidate_inds.view(N, -1)", "candidate_inds.reshape(N, -1)")


def fetch(folder: Path) -> None:
    for name, (address, commit) in SOURCES.items():
        if not (folder / name).is_dir():
            run("git", "clone", "--quiet", address, str(folder / name))
            run("git", "-C", str(folder / name), "checkout", "--quiet", commit)
    source = folder / MENDED
    source.write_text(source.read_text().replace(*MEND))
    packages = folder / "packages"
    if not packages.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        run(*command, "--target", str(packages), *PACKAGES)


def build(folder: Path) -> None:
    """Compile detectron2 in place: with CUDA if the PyTorch that is there sees a card."""
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    run(*command, cwd=folder / "detectron2")


def run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True)


def is_built(folder: Path) -> bool:
    """Whether `serve` can run, with a compiled file for this Python."""
    compiled = (folder / "detectron2" / "detectron2").glob(f"_C.{sys.implementation.cache_tag}*")
    return (folder / "CenterNet2").is_dir() and any(compiled)


def work_of(options: argparse.Namespace) -> Callable[[], object]:
    """Return one pass over the scene of detector.py by the reference's own classes."""
    make_importable(options.folder)
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.events import EventStorage

    torch.manual_seed(0)
    model = build_reference(options).train(options.work == "training")
    images, targets = scene(options.height, options.width, options.images)
    inputs: list[dict[str, Any]] = []
    for image, target in zip(images, targets, strict=True):
        height, width = image.shape[1:]
        instances = Instances(
            (height, width), gt_boxes=Boxes(target["boxes"]), gt_classes=target["labels"]
        )
        inputs.append({"image": image, "instances": instances, "height": height, "width": width})
    precision = torch.autocast(
        options.device, dtype=torch.bfloat16, enabled=options.precision == "bf16"
    )

    def train() -> None:
        with EventStorage(), precision:
            losses = model(inputs)
        sum(losses.values()).backward()
        model.zero_grad()

    @torch.inference_mode()
    def infer() -> None:
        with precision:
            model([{name: each[name] for name in ("image", "height", "width")} for each in inputs])

    return train if options.work == "training" else infer


def train(options: argparse.Namespace) -> None:
    """Run the reference's training script, from a COCO file and its images to weights."""
    make_importable(options.folder)
    from detectron2.data.datasets import register_coco_instances

    register_coco_instances("job", {}, str(options.annotations), str(options.images))
    script, root = "train_net.py", options.folder / "CenterNet2"
    config = ["--num-gpus", "0", "--config-file", str(root / "configs" / f"{options.name}.yaml")]
    sets = ["DATASETS.TRAIN", "('job',)", "DATASETS.TEST", "()", "MODEL.DEVICE", "cpu"]
    sys.argv = [script, *config, *options.words, *sets]
    runpy.run_path(str(root / script), run_name="__main__")


def make_importable(folder: Path) -> None:
    for name in ("packages", "detectron2", "CenterNet2"):
        sys.path.insert(1, str(folder / name))


def build_reference(options: argparse.Namespace) -> torch.nn.Module:
    from centernet.config import add_centernet_config
    from centernet.modeling.backbone.dla import DLA
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import get_cfg
    from detectron2.layers import deform_conv
    from detectron2.modeling import build_model

    config = get_cfg()
    add_centernet_config(config)
    config.merge_from_file(str(options.folder / "CenterNet2" / "configs" / f"{options.name}.yaml"))
    config.MODEL.DEVICE = options.device
    if options.device == "cpu":
        deform_conv.modulated_deform_conv = deform_on_cpu
    config.MODEL.WEIGHTS = options.weights or ""
    # it would download ImageNet weights, whatever weights follow
    DLA.load_pretrained_model = lambda *arguments, **options: None
    model = build_model(config)
    if options.weights:
        DetectionCheckpointer(model).load(options.weights)
    return model


def deform_on_cpu(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
    stride: int, padding: int, dilation: int, groups: int, deformable_groups: int,
) -> Tensor:  # fmt: skip
    """Convolve by torchvision, as detectron2 itself does on CPUs if there is no mask."""
    return deform_conv2d(
        x, offset, weight, bias, stride=stride, padding=padding, dilation=dilation, mask=mask
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("fetch", "build", "serve", "train"):
        steps.add_parser(name).add_argument("folder", type=lambda path: Path(path).resolve())
    serving = steps.choices["serve"]
    serving.add_argument("--weights", help="checkpoint in the reference's names")
    for name, kind in {"work": str, "name": str, "height": int, "width": int, "precision": str,
                       "threads": int, "device": str, "images": int}.items():  # fmt: skip
        serving.add_argument(name, type=kind)
    for name, kind in {"name": str, "annotations": Path, "images": Path}.items():
        steps.choices["train"].add_argument(name, type=kind)
    steps.choices["train"].add_argument("words", nargs="*", help="KEY VALUE ... of the config")
    options = parser.parse_args()
    if options.step == "train":
        train(options)
    elif options.step == "serve":
        torch.set_num_threads(options.threads)
        serve(work_of(options), torch.device(options.device))
    else:
        options.folder.mkdir(parents=True, exist_ok=True)
        {"fetch": fetch, "build": build}[options.step](options.folder)


if __name__ == "__main__":
    main()

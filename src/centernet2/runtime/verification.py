"""Check an exported file against images and detections that were stored beside it."""

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from centernet2.runtime.agreement import (
    ROUNDING,
    Agreement,
    Tolerance,
    compare_detections,
    join_agreements,
)
from centernet2.runtime.exported_model import ExportedModel, parts_of, require_exported
from centernet2.runtime.session import Arrays


class Call(NamedTuple):
    """A batch of images, and the detections that PyTorch computes for them."""

    images: NDArray[np.uint8]  # [N, 3, H, W] RGB
    detections: Sequence[Arrays]  # of each image, boxes in its pixels


def certificate_path(path: Path) -> Path:
    """Return the path of the certificate (JSON) of an exported file."""
    return path.with_name(f"{path.name}.certificate.json")


def reference_path(path: Path) -> Path:
    """Return the path of the images and detections (npz) of an exported file."""
    return path.with_name(f"{path.name}.reference.npz")


def agreement_of(
    model: ExportedModel, calls: Sequence[Call], tolerance: Tolerance = ROUNDING
) -> Agreement:
    """Run a file on the images of all calls and compare the detections."""
    return join_agreements(
        compare_detections(own, wanted, tolerance)
        for call in calls
        for own, wanted in zip(model.detect(call.images), call.detections, strict=True)
    )


def verify_file(path: Path, *, providers: Sequence[str] | None = None) -> dict[str, Any]:
    """Repeat the comparison of an exported file's certificate on this machine.

    Returns:
        The agreement, see `agreement_record`, with the runtime.

    Raises:
        ValueError: the file is not the one of its certificate, or fewer detections agree than it
            requires.
    """
    require_exported(path)
    certificate = read_certificate(path)
    _require_own(path, certificate["sha256"], certificate_path(path))
    calls, share = read_calls(reference_path(path)), certificate["required_share"]
    if own := certificate.get("reference_sha256"):  # certificates of earlier releases have none
        _require_own(reference_path(path), own, certificate_path(path))
    advice = "export it again with other --images"
    require_detections(calls, share, f"{path} cannot be verified", advice)
    model = ExportedModel(path, providers=providers)
    agreement = agreement_of(model, calls, Tolerance(**certificate["tolerance"]))
    require_share(agreement, share, f"{path} with {model.session.description}")
    return {"runtime": model.session.description, **agreement_record(agreement)}


def _require_own(path: Path, digest: str, certificate: Path) -> None:
    """Raise ValueError for a file that a certificate was not made for."""
    if hash_of(path) != digest:
        raise ValueError(
            f"{path} is not the file that {certificate} was made for; copy the files of an export "
            "together"
        )


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file; of an exported one, over all its parts."""
    digest = hashlib.sha256()
    for part in parts_of(path):
        digest.update(part.read_bytes())
    return digest.hexdigest()


def require_detections(calls: Sequence[Call], share: float, name: str, advice: str) -> None:
    """Raise ValueError if a share of the detections must agree, but there are none."""
    if share > 0 and not any(len(own["boxes"]) for call in calls for own in call.detections):
        raise ValueError(
            f"{name}: the detector finds nothing in the {len(calls)} images that it is compared "
            f"on, so there is nothing to compare; {advice}"
        )


def require_share(agreement: Agreement, share: float, name: str, advice: str = "") -> None:
    """Raise ValueError if a smaller share of detections agrees."""
    if agreement.share < share:
        raise ValueError(
            f"{name}: {agreement.matched} of {agreement.expected} detections agree with PyTorch, "
            f"{agreement.share:.2%}, but {share:.2%} are required{advice}"
        )


def agreement_record(agreement: Agreement) -> dict[str, Any]:
    """Return an agreement for JSON."""
    return {
        "detections": agreement.expected,
        "matched": agreement.matched,
        "share": agreement.share,
        "largest_offset": agreement.offset,
        "largest_score_difference": agreement.score_difference,
    }


def describe_agreement(agreement: Mapping[str, Any]) -> str:
    """Say what `agreement_record` returns, and which runtime it is of."""
    return (
        f"{agreement['runtime']}: {agreement['matched']} of {agreement['detections']} detections "
        f"agree with PyTorch ({agreement['share']:.2%}); those differ by at most "
        f"{agreement['largest_offset']:.2g} pixels and {agreement['largest_score_difference']:.2g} "
        "of the score"
    )


def read_certificate(path: Path) -> dict[str, Any]:
    """Read the certificate of an exported file."""
    source = certificate_path(path)
    content = _read_beside(source)
    try:
        certificate: dict[str, Any] = json.loads(content)
        numbers = [certificate["required_share"], *Tolerance(**certificate["tolerance"])]
        certificate["sha256"]
        if not all(isinstance(each, int | float) and 0 <= each < math.inf for each in numbers):
            raise ValueError("no numbers")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{source} is damaged; export the model again") from error
    return certificate


def _read_beside(source: Path) -> bytes:
    """Read a file that lies beside an exported one."""
    if not source.is_file():
        raise ValueError(
            f"nothing can be verified: {source}, which `centernet2 export` writes beside the "
            "model, is missing; copy it, too"
        )
    return source.read_bytes()


def pack_calls(calls: Sequence[Call]) -> bytes:
    """Return the content of a file of calls."""
    arrays: dict[str, Any] = {}
    for k, call in enumerate(calls):
        arrays[f"{k}/images"] = call.images
        for i, own in enumerate(call.detections):
            arrays |= {f"{k}/{i}/{name}": column for name, column in own.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_calls(path: Path) -> list[Call]:
    """Read a file of calls."""
    content = io.BytesIO(_read_beside(path))
    try:
        with np.load(content) as file:
            calls = list(_unpack(dict(file)))
        if not calls:
            raise ValueError("no images")
    except Exception as error:  # the errors of damaged archives have no common class
        raise ValueError(f"{path} is damaged; export the model again") from error
    return calls


def _unpack(arrays: Arrays) -> Iterator[Call]:
    for k in range(sum(name.endswith("images") for name in arrays)):
        images = arrays[f"{k}/images"]
        yield Call(
            images,
            [
                {name: arrays[f"{k}/{i}/{name}"] for name in ("boxes", "scores", "labels")}
                for i in range(len(images))
            ],
        )

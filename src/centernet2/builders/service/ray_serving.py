"""The service on the machines of a Ray cluster, by Ray Serve.

`serve run centernet2.builders.service.ray_serving:app weights=/models/model.onnx` starts it. Each
replica of `Detector` is the service of `centernet2 serve` on one device. `Ingress` gives each
request to a replica, and to another one if that replica ends before its answer; Ray's own proxy
does not.
Detections depend on no earlier request, so to detect twice changes nothing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt, TypeAdapter, ValidationError

from centernet2.arguments import as_argument
from centernet2.builders.prediction.ray_engine import resources_of
from centernet2.builders.service.service_options import (
    SERVICE_RANGES,
    AccessOptions,
    QueueOptions,
    require_service_packages,
    to_service_options,
)
from centernet2.spelling import did_you_mean

if TYPE_CHECKING:
    from centernet2.serve.forwarding import ForwardedAnswer, ForwardedRequest

LISTS = ("allow_host", "compare", "overrides")  # options; a text is split at white space


@dataclass(frozen=True)
class RayOptions(QueueOptions, AccessOptions):
    """Options of the application; the inherited ones are those of `centernet2 serve`.

    Args:
        weights, compare, config_file, overrides, abstain, device, dtype, compile: as of
            `centernet2 serve`; paths are of the machines of the replicas.
        threads: cores of a replica.
        min_replicas, max_replicas: of the detector; their number follows the length of the queue.
    """

    weights: str = ""
    compare: Sequence[str] = ()
    config_file: str | None = None
    overrides: Sequence[str] = ()
    abstain: bool = False
    device: str | None = None
    dtype: str = "fp32"
    compile: bool = False
    threads: PositiveInt = 1
    min_replicas: PositiveInt = 1
    max_replicas: PositiveInt = 100  # as of num_replicas="auto"


def app(args: dict[str, Any]) -> Any:
    """Return the application for `serve run`, or for `serve.run` in Python.

    Args:
        args: fields of `RayOptions` by name; from a command line they are texts.
    """
    require_service_packages()
    from ray import serve
    from ray.exceptions import ObjectLostError, RayActorError
    from ray.serve.exceptions import BackPressureError

    from centernet2.serve.forwarding import Ingress
    from centernet2.serve.server import MAX_CONNECTIONS

    options = parse_options(args)
    limits = to_service_options(options, options).limits
    detector = serve.deployment(
        name="Detector",
        max_ongoing_requests=options.max_queue,
        max_queued_requests=options.max_queue * options.max_replicas,
        autoscaling_config={
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": options.batch_size,
        },
        health_check_timeout_s=2 * options.timeout,
        graceful_shutdown_timeout_s=2 * options.timeout,  # for the accepted requests
        ray_actor_options=resources_of(options.threads, options.device),
    )(DetectorReplica)
    ingress = serve.deployment(
        name="Ingress",
        num_replicas=2,
        max_ongoing_requests=MAX_CONNECTIONS,
        graceful_shutdown_timeout_s=2 * options.timeout,
        ray_actor_options={"num_cpus": 0},  # it only waits
    )(Ingress)
    lost, full = (RayActorError, ObjectLostError), BackPressureError
    return ingress.bind(detector.bind(options), limits, lost, full)


def parse_options(args: Mapping[str, Any]) -> RayOptions:
    """Return checked options; ValueError names what is wrong with one."""
    known = [each.name for each in fields(RayOptions)]
    for name in args:
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise ValueError(f"there is no option '{name}'{hint}")
    if args.get("camera"):
        raise ValueError("camera: videos are of one process; serve them by `centernet2 serve`")
    split = {
        name: value.split() if name in LISTS and isinstance(value, str) else value
        for name, value in args.items()
    }
    try:
        options = TypeAdapter(RayOptions).validate_python(split)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]} is {first['input']!r}: {first['msg']}") from error
    checked: RayOptions = as_argument("options", options, RayOptions(), SERVICE_RANGES)
    return checked


class DetectorReplica:
    """A replica: the service on one device, without what belongs to one process.

    Args:
        options: of the application; files are those of this machine.
    """

    async def __init__(self, options: RayOptions) -> None:  # type: ignore[misc]  # Serve awaits it
        from centernet2.builders.service.serving import load_served
        from centernet2.serve.application import create_app
        from centernet2.serve.forwarding import answer_with
        from centernet2.serve.service import Service

        models = load_served(
            [options.weights, *options.compare],
            options.overrides,
            config=options.config_file,
            approved=None if options.approved is None else Path(options.approved),
            batch_size=options.batch_size,
            abstain=options.abstain,
            device=options.device,
            dtype=options.dtype,
            compile=options.compile,
            threads=options.threads,
        )
        self._service = Service(models, to_service_options(options, options))
        self._answer = partial(answer_with, create_app(self._service, is_replica=True))
        await self._service.start()
        await self._service.until_ready()

    async def __call__(self, request: "ForwardedRequest") -> "ForwardedAnswer":
        return await self._answer(request)

    async def check_health(self) -> None:
        """Wait for the device; a replica whose device hangs is replaced."""
        await self._service.on_device(time.monotonic)

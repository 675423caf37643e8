"""The command `serve`: an HTTP service of detectors, and a page."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.builders.service.service_options import (
    SERVICE_RANGES,
    AccessOptions,
    QueueOptions,
    Words,
    require_service_packages,
    to_service_options,
)
from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    Flag,
    InferenceOptions,
    OverridePairs,
    WeightsArgument,
)
from centernet2.ranges import between

DEFAULT_QUEUE, DEFAULT_ACCESS = QueueOptions(), AccessOptions()


@checked(port=between(0, 65535), **SERVICE_RANGES)
def serve(
    *overrides: OverridePairs,
    weights: WeightsArgument,
    compare: Words = (),
    host: str = "127.0.0.1",
    port: int = 8080,
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    abstain: Flag = False,
    queue: QueueOptions = DEFAULT_QUEUE,
    access: AccessOptions = DEFAULT_ACCESS,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> None:
    """Answer HTTP requests with detections, and show a page to try a detector.

    One process serves one device. It ends on SIGTERM or Ctrl-C, after the accepted requests.

    Parameters
    ----------
    weights
        A checkpoint, the folder of a training run, zoo:NAME of a published model, or an exported
        file (.onnx, .xml, .pt2).
    compare
        Weights of other detectors; the page shows two side by side.
    host
        Address to listen on; 0.0.0.0 for all networks of this machine.
    port
        Port to listen on.
    config
        Path or name of the config, for weights files without one.
    abstain
        Detect what is certainly an object, but like none of the classes, as "unknown".
    """
    require_service_packages()
    from centernet2.builders.service.serving import load_served
    from centernet2.serve.server import bind, run
    from centernet2.serve.service import Service

    options = to_service_options(queue, access)
    with bind(host, port) as taken:
        models = load_served(
            [weights, *compare],
            overrides,
            config=config,
            approved=None if access.approved is None else Path(access.approved),
            batch_size=queue.batch_size,
            abstain=abstain,
            **vars(inference),
        )
        run(Service(models, options), taken)

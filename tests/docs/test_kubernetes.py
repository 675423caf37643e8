"""The manifests of docs/kubernetes: what they name exists."""

import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import App

from centernet2.cli import app

FOLDER = Path(__file__).parents[2] / "docs" / "kubernetes"


def documents(name: str) -> dict[str, Any]:
    """Return the documents of a manifest by their kind."""
    return {each["kind"]: each for each in yaml.safe_load_all((FOLDER / name).read_text("utf-8"))}


def require_command(words: list[str]) -> None:
    """Parse a command line; an unknown command or option raises an error."""
    command: App = app
    command.parse_args(words, exit_on_error=False, print_error=False)


def test_job_is_a_command() -> None:
    words = shlex.split(documents("predict.yaml")["RayJob"]["spec"]["entrypoint"])
    assert words[0] == "centernet2" and "ray" in words
    require_command(words[1:])


def test_service_is_a_command_with_its_probes_and_its_metric() -> None:
    pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
    from centernet2.serve.detection_routes import health_router
    from centernet2.serve.service_metrics import ServiceMetrics

    found = documents("serve.yaml")
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    require_command(container["args"])
    paths = {getattr(route, "path", "") for route in health_router.routes}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
    (metric,) = found["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert f"\n{metric['pods']['metric']['name']} " in ServiceMetrics().text().decode()
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == found["Deployment"]["metadata"]["name"]
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels


def test_ray_service_is_an_application_that_fits_its_machines() -> None:
    pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
    from centernet2.builders.service.ray_serving import parse_options

    spec = documents("ray_serve.yaml")["RayService"]["spec"]
    (application,) = yaml.safe_load(spec["serveConfigV2"])["applications"]
    module, name = application["import_path"].split(":")
    assert callable(getattr(import_module(module), name))
    options = parse_options(application["args"])
    cluster = spec["rayClusterConfig"]
    (workers,) = cluster["workerGroupSpecs"]
    found = (workers["minReplicas"], workers["maxReplicas"])
    assert found == (options.min_replicas, options.max_replicas)
    pod = workers["template"]["spec"]
    (container,) = pod["containers"]
    assert int(container["resources"]["requests"]["cpu"]) == options.threads
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert mounted[str(Path(options.weights).parent)] in {each["name"] for each in pod["volumes"]}
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert head["image"] == container["image"]


def test_ray_service_has_the_fields_of_ray() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="the extra [ray] is not installed")
    spec = documents("ray_serve.yaml")["RayService"]["spec"]
    schema.ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))

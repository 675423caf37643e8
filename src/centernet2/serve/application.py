"""The application: routes, limits and the lifetime of the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from centernet2.serve import page_routes, refusals
from centernet2.serve.connections import Connections
from centernet2.serve.detection_routes import health_router, metrics_router, router
from centernet2.serve.labelling_routes import labelling_router
from centernet2.serve.service import Service
from centernet2.serve.video_routes import video_router


def create_app(service: Service, *, is_replica: bool = False) -> FastAPI:
    """Return the application of a service; it starts and stops the service.

    Of several replicas, each answers a part of the requests, so there are no videos and no metrics,
    which are of one process.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="CenterNet2",
        description="Detect objects in images: send an image, get boxes, scores and classes.",
        lifespan=lifespan,
        docs_url=None,  # its page of FastAPI loads scripts from another host
        redoc_url=None,
    )
    app.state.service = service
    refusals.install(app)
    of_one_process = () if is_replica else (video_router, metrics_router)
    for each in (router, *of_one_process, labelling_router, health_router, page_routes.router):
        app.include_router(each)
    app.add_middleware(Connections, metrics=service.metrics)
    return app

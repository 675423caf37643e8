"""The page of the service, and that of its interface: files of this package."""

from importlib.resources import files

from fastapi import APIRouter, Response

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
POLICY = {  # of the pages: nothing is loaded from, or sent to, another address
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-cache",
}
FOLDER = files("centernet2.serve").joinpath("page")
router = APIRouter(include_in_schema=False)


def _file(name: str) -> Response:
    suffix = name[name.rindex(".") :]
    content = FOLDER.joinpath(name).read_bytes()
    return Response(content, media_type=MEDIA_TYPES[suffix], headers=POLICY)


@router.get("/")
async def page() -> Response:
    return _file("index.html")


@router.get("/docs")
async def docs() -> Response:
    return _file("docs.html")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    known = {each.name for each in FOLDER.iterdir() if not each.name.endswith(".html")}
    return _file(name) if name in known else Response(status_code=404)

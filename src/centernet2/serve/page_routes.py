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
HEAD = "head.html"  # of all pages, which name it in a comment
router = APIRouter(include_in_schema=False)


def _response(content: str, name: str) -> Response:
    suffix = name[name.rindex(".") :]
    return Response(content, media_type=MEDIA_TYPES[suffix], headers=POLICY)


def _page(name: str) -> Response:
    content, head = (FOLDER.joinpath(each).read_text("utf-8") for each in (name, HEAD))
    return _response(content.replace(f"<!-- {HEAD} -->\n", head), name)


@router.get("/")
async def page() -> Response:
    return _page("index.html")


@router.get("/docs")
async def docs() -> Response:
    return _page("docs.html")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    known = {each.name for each in FOLDER.iterdir() if not each.name.endswith(".html")}
    if name not in known:
        return Response(status_code=404)
    return _response(FOLDER.joinpath(name).read_text("utf-8"), name)

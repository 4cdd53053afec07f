"""What pages are made of: scripts, sheet and icon, read once and served by name. Nothing else is reachable."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from callseal.errors import NotFound
from callseal.web.call_page import SOURCES
from callseal.web.guards import ANYONE

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

router = APIRouter()


def read_files() -> dict[str, tuple[str, bytes]]:
    """Type and content by name, of the few kinds we serve; `call/` are the modules that the customers' page shares."""
    own = {path.name: (TYPES[path.suffix], path.read_bytes()) for path in FOLDER.iterdir() if path.suffix in TYPES}
    return own | {f"call/{path.name}": (TYPES[path.suffix], path.read_bytes()) for path in SOURCES.glob("*.js")}


@router.get("/static/{name:path}", dependencies=[Depends(ANYONE)], include_in_schema=False)
async def serve_file(request: Request, name: str) -> Response:
    """One file by its name. Raises NotFound."""
    found = request.app.state.files.get(name)
    if found is None:
        raise NotFound("There is no such file.")
    kind, content = found
    return Response(content, media_type=kind)

"""The page's own files: read once, named by what they hold, kept by browsers for good.

An address has the file's digest as its query, so that a new Tenure is seen at once and an old
address never shows new content. Only what is in the folder at the start is served, by name.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from tenure.domain.errors import NotFound

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
FOR_GOOD = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
router = APIRouter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file. ``digest`` is of its content."""

    content: bytes
    packed: bytes
    """The same by gzip."""
    type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """Every file of the folder that browsers may have, by its path below it."""
    return {
        path.relative_to(FOLDER).as_posix(): _read(path)
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }


@cache
def addresses() -> dict[str, str]:
    """Where each file is found, as long as its content is the same."""
    return {name: f"/static/{name}?{asset.digest}" for name, asset in assets().items()}


@router.get("/static/{name:path}", include_in_schema=False)
def serve(name: str, request: Request) -> Response:
    asset = assets().get(name)
    if asset is None:
        raise NotFound(f"file {name[:80]!r} does not exist")
    known = request.url.query == asset.digest
    headers = {
        "ETag": f'"{asset.digest}"',
        "Cache-Control": FOR_GOOD if known else ASK_AGAIN,
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.packed, media_type=asset.type, headers=headers)
    return Response(asset.content, media_type=asset.type, headers=headers)


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(
        content=content,
        packed=gzip.compress(content, mtime=0),
        type=TYPES[path.suffix],
        digest=hashlib.sha256(content).hexdigest()[:12],
    )

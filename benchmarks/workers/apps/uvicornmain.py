"""``python uvicornmain.py reload|workers PORT``: its scheduler is started as the module is loaded,
in the process that then only supervises too."""

from __future__ import annotations

import sys
from typing import Any

import beat

beat.start()


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    import uvicorn

    port = int(sys.argv[2])
    if sys.argv[1] == "reload":
        uvicorn.run("uvicornmain:app", port=port, lifespan="off", reload=True)
    else:
        uvicorn.run("uvicornmain:app", port=port, lifespan="off", workers=4)

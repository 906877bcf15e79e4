"""The audit of a profile's whole history, in a process of its own.

It reads everything that is recorded, which takes seconds and memory for a long history: the
dashboard, or the owner beside which it serves, is to pay neither. One at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from tenure.client.documents.reports import AuditReply
from tenure.runtime.profile import Profile
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep
from tenure.surfaces.web.problems import Problem, ProblemRaised, problem

router = APIRouter(prefix="/api/v1/profiles/{profile}", tags=["status"])
AUDIT_TIMEOUT_S = 120.0
_CLEAN, _FOUND = 0, 1


@router.get("/audit", response_model=AuditReply, responses=problems(404, 504))
async def get_audit(request: Request, profile: ProfileDep, site: SiteDep) -> Response:
    """Check everything that is recorded against the contract (`tenure audit --json`). Seconds for a
    long history; 429 while another one runs."""
    busy: asyncio.Lock = request.app.state.auditing
    if busy.locked():
        raise ProblemRaised(
            Problem(
                status=429,
                code="busy",
                text="another audit is running",
                remedy="ask again when it has ended",
                headers={"Retry-After": "5"},
            )
        )
    async with busy:
        document = await _audit(profile, str(site.home))
    return JsonResponse(document)


async def _audit(profile: Profile, home: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tenure.surfaces.cli.main", "audit", "--json"),
        *("--home", home, "--profile", profile.name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), AUDIT_TIMEOUT_S)
    except TimeoutError:
        raise ProblemRaised(
            problem(
                504,
                "undetermined",
                f"the audit timed out after {AUDIT_TIMEOUT_S:g} s",
                remedy=f"`tenure audit --profile {profile.name}` has no time limit",
            )
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if process.returncode not in (_CLEAN, _FOUND):
        raise ProblemRaised(
            problem(
                503,
                "undetermined",
                "the audit could not read the store",
                remedy="`tenure status` says what is wrong",
            )
        )
    found: dict[str, Any] = json.loads(out)
    return found

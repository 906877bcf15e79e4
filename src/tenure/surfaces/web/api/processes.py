"""Every scheduler-capable process of a profile, how it stands, and which rule says so."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from tenure.client.documents.processes import JudgedProcess, ProcessList, ProcessReply
from tenure.client.presence import Present, look_at
from tenure.client.status import present_document
from tenure.domain.ownership import HolderLife
from tenure.domain.process import Process
from tenure.runtime.profile import Profile
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep
from tenure.surfaces.web.reports import admission_document, foreign_in, status_of

router = APIRouter(prefix="/api/v1/profiles/{profile}/processes", tags=["processes"])


@router.get("", response_model=ProcessList, responses=problems(404))
def list_processes(profile: ProfileDep, site: SiteDep) -> Response:
    """Those that are there, as the status has them, each with what the policy says of it."""
    found = status_of(profile, site.now())
    documents = [_document(profile, present) for present in found.health.present]
    documents += [
        _document(profile, Present(process=p, life=HolderLife.ALIVE)) for p in found.foreign
    ]
    return JsonResponse(ProcessList(processes=documents, next=None))


@router.get("/{process}", response_model=ProcessReply, responses=problems(404))
def get_process(
    profile: ProfileDep, process: Annotated[str, Path(max_length=100, description="Its id.")]
) -> Response:
    """One process, also one that has gone; a foreign one as long as it lives."""
    foreign = {one.id: one for one in foreign_in(profile)} if "-" in process else {}
    if process in foreign:
        present = Present(process=foreign[process], life=HolderLife.ALIVE)
    else:
        found: Process = profile.store.process(process)
        present = look_at(profile, found)
    return JsonResponse(ProcessReply(process=_document(profile, present)))


def _document(profile: Profile, present: Present) -> JudgedProcess:
    admission = admission_document(profile, profile.policy(), present.process)
    return JudgedProcess(**vars(present_document(present)), admission=admission)

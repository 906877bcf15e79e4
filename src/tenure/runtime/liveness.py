"""Whether a process that joined still lives: asked of the kernel, never of the store."""

from __future__ import annotations

from tenure.domain.ownership import HolderLife
from tenure.domain.process import Process
from tenure.host.live import Life, life_of
from tenure.runtime.profile import Profile

_LIVES = {
    Life.ALIVE: HolderLife.ALIVE,
    Life.DEAD: HolderLife.DEAD,
    Life.UNVERIFIABLE: HolderLife.UNVERIFIABLE,
}


def life_of_process(profile: Profile, process: Process) -> HolderLife:
    """Its live lock, and where that is held by somebody else's fault, its identity."""
    if process.left_at is not None:
        return HolderLife.DEAD
    return _LIVES[life_of(profile.folder.live, process.id, process.evidence.identity)]

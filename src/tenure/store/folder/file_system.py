"""Which file systems may hold a profile, and which may not.

Ownership needs three things: ``flock`` that ends with the process, SQLite's locks, and shared
memory beside the database. Network and user-space file systems give one or the other of
them a different meaning, and a folder that a program copies between machines gives none. They
are refused before anything is written, by what the kernel says is mounted there: on Linux from
``/proc/self/mountinfo``, on macOS from ``statfs(2)`` (written against its documented layout, not
run there). Where neither answers, nothing is known and nothing refused.
"""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from tenure.domain.errors import Refused
from tenure.store.folder.user_home import passwd_home

_SHARED = {
    "nfs": "a network file system",
    "nfs4": "a network file system",
    "cifs": "a network file system",
    "smb3": "a network file system",
    "smbfs": "a network file system",
    "afpfs": "a network file system",
    "webdav": "a network file system",
    "afs": "a network file system",
    "ncpfs": "a network file system",
    "ceph": "a cluster file system",
    "glusterfs": "a cluster file system",
    "lustre": "a cluster file system",
    "gfs2": "a cluster file system",
    "ocfs2": "a cluster file system",
    "gpfs": "a cluster file system",
    "macfuse": "a file system in user space",
    "osxfuse": "a file system in user space",
    "fuse": "a file system in user space",
    "fuseblk": "a file system in user space",
}
_SHARED_UNLESS_ROOT = {"9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs"}
"""Folders shared by the host machine, unless the whole guest lies on such a folder."""

_SYNCED_FOLDERS = (
    "Dropbox",
    "OneDrive",
    "Google Drive",
    "GoogleDrive",
    "My Drive",
    "iCloudDrive",
    "iCloud Drive",
    "Nextcloud",
    "ownCloud",
    "pCloudDrive",
    "Library/Mobile Documents",
    "Library/CloudStorage",
)
_SYNC_MARKERS = {".stfolder": "Syncthing", ".dropbox.cache": "Dropbox"}

_REMEDY = "keep the profile on a disk of this machine: --home DIR, or TENURE_HOME"
_MNT_LOCAL = 0x1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """What is mounted where a path lies."""

    kind: str
    """The kernel's name of its type."""
    mount_point: str
    local: bool = True
    """False where the kernel itself says that it is not local (macOS)."""


def check_file_system(path: Path, *, user_home: Path | None = None) -> None:
    """Raises :class:`Refused` if ``path`` (which need not exist yet) may not hold a profile.

    ``user_home`` is where synced folders are looked for; by default that of the passwd entry, if
    there is one.
    """
    real = Path(os.path.realpath(path))
    mounted = file_system_of(real)
    if mounted is not None:
        why = what_is_wrong(mounted)
        if why:
            raise Refused(
                f"{path} lies on {why} ({mounted.kind} at {mounted.mount_point}), "
                "where locks do not tell reliably who lives",
                remedy=_REMEDY,
                path=str(path),
                file_system=mounted.kind,
            )
    program = synced_by(real, user_home or passwd_home())
    if program:
        raise Refused(
            f"{path} lies in a folder that is copied between machines ({program})",
            remedy=_REMEDY,
            path=str(path),
        )


def what_is_wrong(mounted: FileSystem) -> str:
    """Why this file system cannot carry ownership; '' where it can."""
    kind = mounted.kind.lower()
    if kind in _SHARED:
        return _SHARED[kind]
    if kind.startswith("fuse."):
        return _SHARED["fuse"]
    if kind in _SHARED_UNLESS_ROOT and mounted.mount_point != "/":
        return "a folder shared with another machine"
    return "" if mounted.local else _SHARED["nfs"]


def file_system_of(real: Path) -> FileSystem | None:
    """What is mounted at the resolved path ``real``; None where that cannot be read."""
    if sys.platform == "darwin":
        return _statfs(real)
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return None
    return parse_mountinfo(mountinfo, str(real))


def parse_mountinfo(mountinfo: str, real: str) -> FileSystem | None:
    """The mount that ``real`` lies on: the longest mount point above it, the latest of equals.

    The format is that of proc(5): fields, optional fields, ``-``, type, source, options.
    """
    best: FileSystem | None = None
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = _unescape(fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.mount_point)):
            best = FileSystem(kind=kinds[0], mount_point=point)
    return best


def synced_by(real: Path, user_home: Path | None) -> str:
    """The program that copies the folder of ``real`` elsewhere; '' where none is known."""
    home = Path(os.path.realpath(user_home)) if user_home is not None else None
    if home is not None and real.is_relative_to(home):
        inside = str(real.relative_to(home))
        for name in _SYNCED_FOLDERS:
            # 'OneDrive - Contoso' and 'Google Drive (me@example.org)' are theirs too.
            if inside == name or inside.startswith((f"{name}/", f"{name} ")):
                return name
    for folder in (real, *real.parents):
        for marker, program in _SYNC_MARKERS.items():
            if os.path.lexists(folder / marker):
                return program
    return ""


def parse_statfs(buffer: bytes) -> FileSystem:
    """macOS ``struct statfs`` with 64-bit inodes: flags at 64, type at 72, mount point at 88."""
    (flags,) = struct.unpack_from("=I", buffer, 64)
    kind = buffer[72:88].split(b"\0")[0].decode(errors="replace")
    point = buffer[88 : 88 + 1024].split(b"\0")[0].decode(errors="replace")
    return FileSystem(kind=kind, mount_point=point, local=bool(flags & _MNT_LOCAL))


def _statfs(real: Path) -> FileSystem | None:
    # Five milliseconds that only macOS needs.
    import ctypes

    while not real.exists() and real != real.parent:
        real = real.parent
    try:
        library = ctypes.CDLL(None)
        name = "statfs$INODE64" if os.uname().machine == "x86_64" else "statfs"
        buffer = ctypes.create_string_buffer(4096)
        if getattr(library, name)(os.fsencode(real), buffer) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return parse_statfs(buffer.raw)


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text

"""The profile's folder: whose it is, what it is called, and where it may lie."""

from __future__ import annotations

import os
import pwd
import stat
import struct
from pathlib import Path

import pytest

from tenure.domain.errors import InvalidInput, NotFound, Refused
from tenure.store.folder import file_system
from tenure.store.folder import layout as folder_module
from tenure.store.folder.file_system import (
    FileSystem,
    check_file_system,
    file_system_of,
    parse_mountinfo,
    parse_statfs,
    synced_by,
    what_is_wrong,
)
from tenure.store.folder.layout import ProfileFolder, home, list_profiles
from tenure.store.folder.user_home import default_home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_default_home_is_the_passwd_entrys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert default_home() == Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".tenure"
    assert home(None, {}) == default_home()
    assert home(None, {"TENURE_HOME": ""}) == default_home()
    assert home(None, {"TENURE_HOME": "/srv/t"}) == Path("/srv/t")
    assert home("/a", {"TENURE_HOME": "/srv/t"}) == Path("/a")
    assert home("a", {}) == Path.cwd() / "a"
    for argument, environ, field in (("", {}, "home"), (None, {"TENURE_HOME": "t"}, "TENURE_HOME")):
        with pytest.raises(InvalidInput) as caught:
            home(argument, environ)
        assert caught.value.field == field


def test_creating_makes_private_folders(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = ProfileFolder.open("la", tmp_path / "above" / "t", create=True)
    finally:
        os.umask(old)
    root = tmp_path / "above" / "t"
    for path in (root, root / "profiles", made.path, made.live, made.logs):
        assert mode(path) == 0o700
    assert made.path == root / "profiles" / "la"
    assert made.database == made.path / "tenure.db"
    assert made.toml == made.path / "profile.toml"
    assert made.id_file == made.path / "profile.id"
    assert ProfileFolder.open("la", root) == made == ProfileFolder.open("la", root, create=True)


def test_opening_creates_nothing(tmp_path: Path) -> None:
    for found in ("la", "profiles"):
        with pytest.raises(NotFound, match="profile la does not exist") as caught:
            ProfileFolder.open("la", tmp_path / "t")
        assert "tenure profile list" in caught.value.remedy
        assert not (tmp_path / "t").exists(), found
    (tmp_path / "profiles").write_text("a file")
    with pytest.raises(NotFound):
        ProfileFolder.open("la", tmp_path)


@pytest.mark.parametrize("name", ["", "La", "../x", "a/b", "-a", "a" * 65, "a\n", "é", "a.b", None])
def test_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ProfileFolder.open(name, tmp_path, create=True)
    assert caught.value.field == "profile"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_open_to_others_is_tightened(tmp_path: Path) -> None:
    made = ProfileFolder.open("la", tmp_path, create=True)
    made.path.chmod(0o755)
    ProfileFolder.open("la", tmp_path)
    assert mode(made.path) == 0o700


def test_a_file_system_without_modes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ProfileFolder.open("la", tmp_path, create=True)
    made.path.chmod(0o755)
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    with pytest.raises(Refused, match="keeps no modes"):
        ProfileFolder.open("la", tmp_path)


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ProfileFolder.open("la", tmp_path, create=True)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    monkeypatch.setattr(folder_module, "check_file_system", lambda _: None)
    with pytest.raises(Refused, match=f"belongs to uid {mine}") as caught:
        ProfileFolder.open("la", tmp_path)
    assert "TENURE_HOME" in caught.value.remedy
    if mine:  # a home of root's is not an error
        with pytest.raises(Refused, match=f"belongs to uid {mine}"):
            ProfileFolder.open("la", tmp_path, create=True)


def test_a_tilde_that_no_shell_replaced_is_this_users_home() -> None:
    """``--home=~/jobs``, or ``home="~/jobs"`` in a program: no folder is to be named ``~``."""
    user = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert home("~/jobs", {}) == user / "jobs"
    assert home("~", {}) == user
    assert home("/srv/~", {}) == Path("/srv/~")
    for wrong in ("", "a\0b"):
        with pytest.raises(InvalidInput):
            home(wrong, {})


def test_a_home_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.stat(tmp_path)
    foreign = os.stat_result((*status[:4], 4242, *status[5:]))
    monkeypatch.setattr(os, "stat", lambda path, **_: foreign)
    with pytest.raises(Refused, match="belongs to uid 4242"):
        folder_module._make(tmp_path / "h", tmp_path / "h" / "profiles" / "la")


def test_what_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be used"):
        ProfileFolder.open("la", tmp_path / "file", create=True)
    with pytest.raises(Refused, match="cannot be used"):
        ProfileFolder.open("la", tmp_path / "file" / "under", create=True)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", forbidden)
    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(Refused, match="Permission denied"):
        folder_module._is_folder(tmp_path)
    with pytest.raises(Refused, match="Permission denied"):
        folder_module._private(tmp_path)
    with pytest.raises(Refused, match="Permission denied"):
        list_profiles(tmp_path)


def test_two_spellings_are_one_profile(tmp_path: Path) -> None:
    plain = ProfileFolder.open("la", tmp_path / "t", create=True)
    (tmp_path / "link").symlink_to(tmp_path / "t")
    (tmp_path / "t" / "profiles" / "alias").symlink_to("la")
    assert ProfileFolder.open("la", tmp_path / "link") == plain
    assert ProfileFolder.open("alias", tmp_path / "t") == plain
    (tmp_path / "t" / "profiles" / "far").symlink_to(tmp_path / "link" / "profiles" / "la" / "logs")
    far = ProfileFolder.open("far", tmp_path / "t")
    assert far.name == "far"
    assert far.path == plain.logs


def test_a_replaced_folder_is_noticed(tmp_path: Path) -> None:
    made = ProfileFolder.open("la", tmp_path, create=True)
    assert made.is_current()
    made.path.rename(tmp_path / "gone")
    assert not made.is_current()
    ProfileFolder.open("la", tmp_path, create=True)
    assert not made.is_current()


def test_listing(tmp_path: Path) -> None:
    assert list_profiles(tmp_path / "none") == []
    for name in ("b", "a"):
        ProfileFolder.open(name, tmp_path, create=True)
    (tmp_path / "profiles" / "Not-a-name").mkdir()
    (tmp_path / "profiles" / "file").write_text("")
    assert list_profiles(tmp_path) == ["a", "b"]


# -- file systems ----------------------------------------------------------------------------

MOUNTS = r"""
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:30 / /home rw shared:1 - btrfs /dev/sdb rw
31 22 0:31 / /mnt/my\040share rw - nfs4 srv:/x rw
32 30 0:32 / /home/a/remote rw - fuse.sshfs a@b: rw
33 22 0:33 / /over rw - nfs srv:/y rw
34 22 0:34 / /over rw - tmpfs tmpfs rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind", "refused"),
    [
        ("/", "ext4", False),
        ("/home/a/.tenure", "btrfs", False),
        ("/homestead", "ext4", False),
        ("/mnt/my share/t", "nfs4", True),
        ("/mnt/my share", "nfs4", True),
        ("/home/a/remote/t", "fuse.sshfs", True),
        ("/over/t", "tmpfs", False),
    ],
)
def test_the_mount_below_a_path(path: str, kind: str, refused: bool) -> None:
    found = parse_mountinfo(MOUNTS, path)
    assert found is not None
    assert found.kind == kind
    assert bool(what_is_wrong(found)) is refused


@pytest.mark.parametrize(
    ("kind", "point", "local", "refused"),
    [
        ("cifs", "/m", True, True),
        ("smb3", "/m", True, True),
        ("fuseblk", "/m", True, True),
        ("9p", "/mnt/c", True, True),
        ("9p", "/", True, False),
        ("virtiofs", "/work", True, True),
        ("overlay", "/", True, False),
        ("apfs", "/", True, False),
        ("apfs", "/Volumes/x", False, True),
    ],
)
def test_which_may_hold_a_profile(kind: str, point: str, local: bool, refused: bool) -> None:
    found = FileSystem(kind=kind, mount_point=point, local=local)
    assert bool(what_is_wrong(found)) is refused


def test_a_network_file_system_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = FileSystem(kind="nfs4", mount_point=str(tmp_path))
    monkeypatch.setattr(file_system, "file_system_of", lambda _: network)
    with pytest.raises(Refused, match="network file system") as caught:
        ProfileFolder.open("la", tmp_path / "t", create=True)
    assert "--home" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_synced_folder_is_refused(tmp_path: Path) -> None:
    for name in ("Dropbox", "OneDrive - Contoso", "Library/Mobile Documents"):
        with pytest.raises(Refused, match="copied between machines"):
            check_file_system(tmp_path / name / "t", user_home=tmp_path)
    assert synced_by(tmp_path / "Dropboxes" / "t", tmp_path) == ""
    check_file_system(tmp_path / "t", user_home=tmp_path)
    (tmp_path / "s" / ".stfolder").mkdir(parents=True)
    assert synced_by(tmp_path / "s" / "t", Path("/absent")) == "Syncthing"
    # A link out of the home into the synced folder is that folder.
    (tmp_path / "s" / "t").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "s" / "t")
    with pytest.raises(Refused, match="Syncthing"):
        check_file_system(tmp_path / "link" / "p", user_home=Path("/absent"))


def test_where_nothing_is_known_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert file_system_of(tmp_path) is not None
    assert parse_mountinfo("", "/") is None

    def gone(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", gone)
    assert file_system_of(tmp_path) is None
    check_file_system(tmp_path, user_home=Path("/absent"))


def test_macos_statfs() -> None:
    def recorded(kind: bytes, flags: int) -> bytes:
        head = struct.pack("=Ii5Qii3I", 4096, 4096, 1, 1, 1, 1, 1, 7, 8, 501, 26, flags)
        assert len(head) == 68
        return head + bytes(4) + kind.ljust(16, b"\0") + b"/Volumes/x".ljust(1024, b"\0")

    local = parse_statfs(recorded(b"apfs", 0x1000))
    assert local == FileSystem(kind="apfs", mount_point="/Volumes/x", local=True)
    remote = parse_statfs(recorded(b"smbfs", 0))
    assert (remote.kind, remote.local) == ("smbfs", False)
    assert what_is_wrong(remote)


def test_macos_is_asked_by_statfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    asked: list[bytes] = []

    class Library:
        answer = 0

        def __getattr__(self, name: str) -> object:
            assert name in ("statfs", "statfs$INODE64")

            def call(path: bytes, buffer: ctypes.Array[ctypes.c_char]) -> int:
                asked.append(path)
                buffer[72:76] = b"apfs"
                return self.answer

            return call

    library = Library()
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    found = file_system_of(tmp_path / "not" / "yet")
    assert found is not None
    assert found.kind == "apfs"
    assert asked == [os.fsencode(tmp_path)]
    library.answer = -1
    assert file_system_of(tmp_path) is None
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert file_system_of(tmp_path) is None

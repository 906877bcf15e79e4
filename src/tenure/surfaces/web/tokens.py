"""Two secrets of a Tenure home: one gives full access, the other read-only access.

They lie in ``web.json`` of the home, readable by its user only. The first allows what the command
line allows, the second only reading. A browser shows its token once, in
the link, and gets a cookie that is derived from it, so that the token stays out of its history.
Both are gone with the token: ``tenure dashboard --new-token`` writes new ones, and a page that is
open somewhere is logged out at its next request.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenure.domain.errors import Refused

FILE = "web.json"
_LENGTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a valid token or cookie allows."""

    may_write: bool
    cookie: str
    """What a browser keeps instead of the token."""
    csrf: str
    """What a form carries to prove that it came from a page of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two tokens of a home."""

    full: str
    read_only: str


class Tokens:
    """The tokens in force. Follows its file when that is replaced. Thread-safe."""

    def __init__(self, pair: Pair, path: Path | None = None) -> None:
        """``path`` is the file that ``pair`` was read from; None for tokens kept in memory."""
        self._path = path
        self._mark = None if path is None else _mark(path)
        self._lock = threading.Lock()
        self._set(pair)

    @classmethod
    def in_memory(cls) -> Tokens:
        return cls(_new())

    @classmethod
    def of_home(cls, home: Path, *, renew: bool = False) -> Tokens:
        """Those of a home, made where there are none yet or ``renew`` says so.

        Raises Refused if the file cannot be read or written, or is readable by others.
        """
        path = home / FILE
        try:
            pair = None if renew else _read(path)
            if pair is None:
                pair = _new()
                _write(path, pair)
        except OSError as error:
            raise Refused(
                f"{path}: {error.strerror or error}", remedy="make the folder writable for its user"
            ) from error
        return cls(pair, path)

    @property
    def pair(self) -> Pair:
        return self._pair

    def of_token(self, token: str) -> Access | None:
        """What a token allows; None if it is not one of ours."""
        return self._of(token, lambda token, access: token)

    def of_cookie(self, value: str) -> Access | None:
        """What a cookie's value allows."""
        return self._of(value, lambda token, access: access.cookie)

    def holds(self, access: Access) -> bool:
        """Whether what a token allowed is still in force: a stream outlives the check of it."""
        self._follow()
        return access in self._known.values()

    def _of(self, value: str, proof: Callable[[str, Access], str]) -> Access | None:
        self._follow()
        encoded = value.encode("utf-8", "replace")
        found = None
        # All are compared, so that the time it takes gives nothing away.
        for token, access in self._known.items():
            if hmac.compare_digest(encoded, proof(token, access).encode()):
                found = access
        return found

    def _follow(self) -> None:
        if self._path is None or _mark(self._path) == self._mark:
            return
        with self._lock:
            self._mark = _mark(self._path)
            try:
                pair = _read(self._path)
            except (OSError, Refused):
                pair = None
            # A missing or broken file admits no client: the old tokens are not trusted any longer.
            self._set(pair or _new())

    def _set(self, pair: Pair) -> None:
        self._pair = pair
        self._known = {
            token: _access(token, may_write=may_write)
            for token, may_write in ((pair.full, True), (pair.read_only, False))
        }


def derived(token: str, use: str) -> str:
    """A value that proves the token without being it."""
    return hmac.new(token.encode(), f"tenure {use} 1".encode(), hashlib.sha256).hexdigest()


def _access(token: str, *, may_write: bool) -> Access:
    return Access(may_write=may_write, cookie=derived(token, "cookie"), csrf=derived(token, "csrf"))


def _new() -> Pair:
    return Pair(full=secrets.token_urlsafe(_LENGTH), read_only=secrets.token_urlsafe(_LENGTH))


def _read(path: Path) -> Pair | None:
    """The file's tokens; None where there is no file. Refused for one that is not to be trusted."""
    try:
        with open(path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            text = file.read(4096)
    except FileNotFoundError:
        return None
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise Refused(
            f"{path} is readable by other users, so its tokens are no longer accepted",
            remedy="`tenure dashboard --new-token` writes new ones",
        )
    try:
        tokens = json.loads(text)["tokens"]
        pair = Pair(full=tokens["full"], read_only=tokens["read_only"])
        if min(len(pair.full), len(pair.read_only)) < _LENGTH or pair.full == pair.read_only:
            raise ValueError("too short")
    except (ValueError, KeyError, TypeError):
        raise Refused(
            f"{path} has no valid tokens", remedy="`tenure dashboard --new-token` writes new ones"
        ) from None
    return pair


def _write(path: Path, pair: Pair) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
    text = json.dumps({"v": 1, "tokens": {"full": pair.full, "read_only": pair.read_only}})
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def _mark(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)

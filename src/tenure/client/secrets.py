"""Values that are not to be shown: masked on every surface unless they are asked for.

A variable is taken for a secret by its name, the text of standard input always: what is in it
cannot be known. That is a courtesy, not a vault: the values lie in the store, readable by every
process that can read the profile, and a secret written into a command line is not found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "********"
_SECRET = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|KEY|CREDENTIAL|AUTH|COOKIE|PRIVATE|DSN|(^|_)(PWD|PAT|PW)($|_)",
    re.IGNORECASE,
)
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def is_secret(name: str, value: str = "") -> bool:
    """Whether a variable of this name, or a URL with a password in it, is to be masked."""
    if name in ("PWD", "OLDPWD"):
        return False
    return bool(_SECRET.search(name)) or bool(_CREDENTIALS_IN_URL.search(value))


def masked_text(text: str | None, *, show: bool = False) -> str | None:
    """The text of standard input as :data:`MASK`, unless ``show`` or there is none."""
    return MASK if text and not show else text


def masked(env: Mapping[str, str], *, show: bool = False) -> dict[str, str]:
    """``env`` with the secrets replaced by :data:`MASK`, unless ``show``."""
    return {
        name: MASK if not show and is_secret(name, value) else value for name, value in env.items()
    }

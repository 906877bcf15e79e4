"""The two crons that Linux has."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """Whose rules hold where they part."""

    DEBIAN = "debian"
    """The ``cron`` of Debian and Ubuntu."""
    CRONIE = "cronie"
    """That of Fedora, Red Hat, SUSE and Arch."""

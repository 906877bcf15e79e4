"""What may be asked and changed through the web, by the API and the page alike (C7, C12).

Definitions are changed in the store; trigger, cancel, retry and hand-over are asked of the owner.
Nothing here runs a job. Every function blocks its thread for a moment (the store), those that ask
for up to their ``patience``; none may be called on an event loop. ``via`` says who edits and asks:
:data:`PAGE` or :data:`API`.

All raise what :mod:`tenure.client` raises: InvalidInput naming the field, NotFound,
Conflict, Refused with its remedy, StoreBlocked.
"""

from __future__ import annotations

from tenure.surfaces.web.asks import PATIENCE, cancel, hand_over, retry, trigger, withdraw
from tenure.surfaces.web.definitions import (
    Overtaken,
    approve,
    create,
    edit,
    replace,
    restore,
    set_all,
    set_state,
)
from tenure.surfaces.web.schedule_preview import Preview, preview, preview_document

__all__ = [
    "API",
    "PAGE",
    "PATIENCE",
    "Overtaken",
    "Preview",
    "approve",
    "cancel",
    "create",
    "edit",
    "hand_over",
    "preview",
    "preview_document",
    "replace",
    "restore",
    "retry",
    "set_all",
    "set_state",
    "trigger",
    "withdraw",
]

PAGE = "tenure dashboard, page"
API = "tenure dashboard, API"

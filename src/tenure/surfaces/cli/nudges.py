"""Tell the owner that something changed."""

from tenure.client.notify import nudge_all, nudge_owner

__all__ = ["nudge_all", "nudge_owner"]

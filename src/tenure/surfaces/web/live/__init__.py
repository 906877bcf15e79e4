"""Changes pushed to open pages (server-sent events)."""

"""Who may use the page: tokens, origins, size limits, headers."""

"""Where a profile is kept."""

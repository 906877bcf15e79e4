"""From a due fire to a recorded result."""

"""What the operating system reports about processes, clocks and locks."""

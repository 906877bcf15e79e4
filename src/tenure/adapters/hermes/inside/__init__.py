"""Code that runs inside Hermes' own processes."""

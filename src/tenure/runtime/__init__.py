"""The scheduler process: ownership, dispatch, running commands and callables."""

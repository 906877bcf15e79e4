"""Hermes Agent, made to obey the contract without an edit to it.

Read ``home`` for the files, ``survey`` for what runs now, ``adopt`` and ``release`` for what
is changed and undone, ``plugin`` for what happens inside Hermes' own processes.
"""

"""The command line: a file a verb, or a few that belong together.

It reads the store and writes definitions and requests as transactions; it never runs a job and
never owns, ``serve`` excepted. What it prints for people goes through ``output`` and ``times``;
what it prints for programs are the documents of :mod:`tenure.client.documents`.
"""

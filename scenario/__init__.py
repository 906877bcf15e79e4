"""The founding scenario, for real: five schedulers, one profile, one protected file.

A gateway is kept alive by a small supervisor, as launchd would do it; four desktop backends run
below an app that the kernel denies one file. ``python -m scenario run`` tells it as a story in
two parts: first with a plain scheduler behind a shared file lock, then with Tenure. ``soak`` lets
the same world run for long under random kills, freezes, edits and requests, and then checks
what happened from the jobs' own word.

Nothing here is shipped. No root is needed; everything lies in a temporary folder.
"""

"""The HTTP API and the page over it: an observer of one or many profiles.

It reads the store, changes definitions in the store, and asks the owner; it never runs a job, and
closing it changes nothing for the jobs. Needs the extra ``tenure[web]``; nothing else of Tenure
imports this package.

Read ``app.py`` (what is served), ``site.py`` (what is opened), ``guard/security.py`` (who is let
in), and :mod:`tenure.client.edits` and :mod:`tenure.client.requests` (what can be changed and
requested) first.
"""

VIA_PAGE = "tenure dashboard, page"
VIA_API = "tenure dashboard, API"
"""Which interface edits and asks, for the record."""

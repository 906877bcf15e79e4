"""Tenure beside APScheduler 3 and a bare loop: ``python -m benchmarks`` (``make bench``).

Each measurement is a file of :mod:`benchmarks.measurements`; docs/adr/0010-benchmarks.md says
how the figures are taken and what they can bear.
"""

"""APScheduler 3: the jobs of its SQLAlchemy store, read as data and never unpickled.

Read ``pickles`` for why nothing of a store can run here, ``stored`` for what a job is, ``triggers``
for what becomes of its trigger, and ``importing`` and ``declarations`` for the two ways out: jobs
that run a command, and a Python file with ``tenure.job(...)`` for each.
"""

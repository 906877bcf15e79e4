"""Crontabs, as Debian's cron and cronie read them, become jobs; a crontab is never written.

Read ``lines`` for what a crontab says, ``times`` and ``commands`` for what becomes of it, and
``importing`` for the plan.
"""

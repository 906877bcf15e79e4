"""The library façade: Tenure, cron, every, at."""

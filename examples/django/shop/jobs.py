"""Found by Tenure's app, as `admin.py` is by Django's admin."""

from tenure import every
from tenure.integrations.django import tenure


@tenure.job(every("2s"))
def refresh() -> None:
    print("refreshed", flush=True)

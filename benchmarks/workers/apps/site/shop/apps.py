from __future__ import annotations

import os

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        """Where APScheduler's users start it."""
        if os.environ["BEAT_WITH"] != "tenure":
            import beat

            beat.start()

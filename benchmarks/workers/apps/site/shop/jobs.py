"""Found by tenure.integrations.django."""

from __future__ import annotations

import os

if os.environ.get("BEAT_WITH") == "tenure":
    import beat

    from tenure import Context, every
    from tenure.integrations.django import tenure

    @tenure.job(every("1s"), name="beat")
    def beats(context: Context) -> None:
        beat.note("B", context.fire_time.timestamp())

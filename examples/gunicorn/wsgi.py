"""A bare WSGI application under gunicorn: started before the fork, joined again in each worker."""

from collections.abc import Callable, Iterable
from typing import Any

from tenure import Tenure, every

tenure = Tenure(profile="example-gunicorn")


@tenure.job(every("2s"), timeout="1m")
def refresh() -> None:
    print("refreshed", flush=True)


tenure.start()  # with --preload in gunicorn's own process, which leaves the jobs to its workers


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"this worker runs the jobs\n" if tenure.owns else b"another worker does\n"]

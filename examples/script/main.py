"""A plain program with jobs: start it in two terminals, and end the one that runs them."""

import signal

from tenure import Context, Tenure, every

tenure = Tenure(profile="example-script")


@tenure.job(every("2s"))
def tick(context: Context) -> None:
    print(f"tick for {context.fire_time:%H:%M:%S}, term {context.term}", flush=True)


if __name__ == "__main__":
    with tenure:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})

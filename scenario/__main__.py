"""``python -m scenario run [--fast]`` and ``python -m scenario soak --seconds N --seed S``."""

from __future__ import annotations

import argparse
import random
import signal
import sys

from scenario.view import View
from scenario.world import CannotShow


def main() -> int:
    parser = argparse.ArgumentParser(prog="scenario", description="Tenure's founding scenario.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="the scenario, live, in a temporary folder")
    run.add_argument("--fast", action="store_true", help="about 45 seconds")
    run.add_argument("--keep", action="store_true", help="keep the temporary folder")
    soak = verbs.add_parser("soak", help="the same processes under random kills and freezes")
    soak.add_argument("--seconds", type=float, default=600)
    soak.add_argument("--seed", type=int, default=None, help="repeats a sequence of faults")
    soak.add_argument("--keep", action="store_true", help="leave the temporary folder")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    view = View()
    try:
        if options.verb == "run":
            from scenario.story import run_story

            return run_story(view, fast=options.fast, keep=options.keep)
        from scenario.soak import soak as run_soak

        seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
        return run_soak(view, seconds=options.seconds, seed=seed, keep=options.keep)
    except CannotShow as problem:
        view.say(f"this cannot be shown here: {problem}", "red")
        return 75
    except KeyboardInterrupt:
        view.say("interrupted; every process that was started has been ended")
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""One side of one measurement, alone in its process: prints its figures as the last line.

``python -m benchmarks.side MEASUREMENT SIDE SCALE WORK_FOLDER``
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks.measurements import load


def main(arguments: list[str]) -> None:
    name, side, scale, work = arguments
    measurement = load(name)
    figures = measurement.sides[side](Path(work), measurement.sizes.get(scale, {}))
    print(json.dumps(figures), flush=True)
    # Threads of a scheduler that is being measured must not keep a finished side alive.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])

"""``python -m tenure``: the command line, of the Python that is named."""

from __future__ import annotations

import sys

from tenure.surfaces.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

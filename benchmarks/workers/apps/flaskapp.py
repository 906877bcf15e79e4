"""A Flask application: ``flask --app flaskapp run --debug``, or ``python flaskapp.py``."""

from __future__ import annotations

import os
import sys

import beat
from flask import Flask

app = Flask(__name__)
if __name__ == "__main__" or beat.tenure is None:
    beat.start()  # as a script would, also in the parent of the reloader
else:
    beat.tenure.init_app(app)


@app.get("/")
def pid() -> str:
    return str(os.getpid())


if __name__ == "__main__":
    app.run(debug=True, port=int(sys.argv[1]))

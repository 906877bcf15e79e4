#!/bin/sh
# The test suite with line and branch coverage; domain/ and store/ must reach 95 percent.
# What needs a real Hermes is left out: `make test-hermes`.
set -eu
bin=.venv/bin
rm -f .coverage .coverage.*
$bin/coverage run -m pytest -m "not hermes" "$@"
$bin/coverage combine -q
$bin/coverage report --include='src/tenure/domain/*,src/tenure/store/*' --skip-covered --fail-under=95

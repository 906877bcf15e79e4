#!/bin/sh
# The test suite with line and branch coverage; domain/ and store/ must reach 95 percent.
set -eu
bin=.venv/bin
rm -f .coverage .coverage.*
$bin/coverage run -m pytest "$@"
$bin/coverage combine -q
$bin/coverage report --include='src/tenure/domain/*,src/tenure/store/*' --skip-covered --fail-under=95

#!/bin/sh
# Writes what Tenure reads about itself on a Mac, in two situations: as a child of this shell, and as
# an agent of launchd.
#
#     macos_evidence.sh TENURE OUTPUT-PREFIX
set -eu
tenure=$1
prefix=$2
folder=$(mktemp -d)
label=dev.tenure.evidence.$$

TENURE_HOME=$folder/home "$tenure" whoami --json >"$prefix.shell.json" || echo "whoami: exit $?" >"$prefix.shell.txt"

cat >"$folder/agent.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>$label</string>
  <key>ProgramArguments</key>
  <array><string>$tenure</string><string>whoami</string><string>--json</string></array>
  <key>EnvironmentVariables</key><dict><key>TENURE_HOME</key><string>$folder/home</string></dict>
  <key>RunAtLoad</key><true/>
  <key>StandardOutPath</key><string>$folder/agent.json</string>
  <key>StandardErrorPath</key><string>$folder/agent.txt</string>
</dict></plist>
PLIST
launchctl bootstrap "gui/$(id -u)" "$folder/agent.plist"
tries=0
until [ -s "$folder/agent.json" ] || [ "$tries" -ge 30 ]; do
    tries=$((tries + 1))
    sleep 1
done
launchctl bootout "gui/$(id -u)/$label" || true
for kind in json txt; do
    [ ! -e "$folder/agent.$kind" ] || cp "$folder/agent.$kind" "$prefix.agent.$kind"
done
launchctl print "pid/$$" >"$prefix.launchctl.txt" 2>&1 || true

#!/bin/sh
# The founding scenario with a real launchd, in a temporary home. Needs macOS and a login session.
#
#     launchd_scenario.sh TENURE
#
# An agent named by the owner policy owns term 1. A scheduler started from this shell is refused. After
# kill -9 launchd starts the agent again, and it owns term 2.
set -eu
tenure=$1
folder=$(mktemp -d)
label=dev.tenure.scenario.$$
domain=gui/$(id -u)
export TENURE_HOME="$folder/home"

# field EXPRESSION: a value of `tenure status --json`, which is `status` in the expression
field() {
    { "$tenure" status --json || true; } |
        python3 -c "import json, sys; status = json.load(sys.stdin); print($1)"
}

# wait_for EXPRESSION: until it is True, for at most a minute
wait_for() {
    tries=0
    until [ "$(field "$1")" = True ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ]; then
            echo "not reached within 60 s: $1"
            "$tenure" status || true
            cat "$folder/agent.log"
            exit 1
        fi
        sleep 1
    done
    echo "reached: $1"
}

"$tenure" add 'every 5s' --name protected --protected -- true
cat >"$TENURE_HOME/profiles/default/profile.toml" <<TOML
[[owner]]
service = "launchd:$label"
TOML
"$tenure" owner policy --accept || true

cat >"$folder/agent.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>$label</string>
  <key>ProgramArguments</key><array><string>$tenure</string><string>serve</string></array>
  <key>EnvironmentVariables</key><dict><key>TENURE_HOME</key><string>$TENURE_HOME</string></dict>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><true/>
  <key>ThrottleInterval</key><integer>1</integer>
  <key>StandardErrorPath</key><string>$folder/agent.log</string>
</dict></plist>
PLIST
trap 'launchctl bootout "$domain/$label" || true' EXIT
launchctl bootstrap "$domain" "$folder/agent.plist"
wait_for 'status["owner"] is not None and status["owner"]["term"] == 1 and status["owner"]["authoritative"]'

"$tenure" serve >"$folder/shell.log" 2>&1 &
shell_scheduler=$!
wait_for 'any(p["standing"] == "refused" for p in status["processes"])'
kill "$shell_scheduler"
wait "$shell_scheduler" || true

kill -9 "$(field '[p["pid"] for p in status["processes"] if p["standing"] == "owner"][0]')"
wait_for 'status["owner"] is not None and status["owner"]["term"] == 2 and status["owner"]["authoritative"]'
"$tenure" runs --json | python3 -c 'import json, sys; assert json.load(sys.stdin)["runs"], "no run"'
"$tenure" audit

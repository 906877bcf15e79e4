"""Examples that the description shows. A test holds each to its shape."""

from __future__ import annotations

from typing import Any

from tenure.client.documents import Document
from tenure.client.documents.jobs import JobReply, PreviewReply, UpcomingList
from tenure.client.documents.processes import OwnerReply, PolicyReply, TermList
from tenure.client.documents.reports import AuditReply, EventList, ProfileList
from tenure.client.documents.runs import RequestReply, RunReply

_JOB, _RUN, _REQUEST = "j1m81w3jvwcfrf3qgk4", "r1m81w3k8p561c641j1", "q1m81wshezfz0d6yfrk"
_GATEWAY = "p1m81x3a19p4dd7rw8e"
_SCHEDULE = {
    "kind": "cron", "text": "0 7 * * *", "expression": "0 7 * * *", "interval": None,
    "anchor": None, "at": None, "timezone": "Europe/Berlin", "dst": "cron",
    "words": "at 07:00 every day (Europe/Berlin)",
}  # fmt: skip
_TERM = {
    "term": 7, "process": _GATEWAY, "rule": 1, "authoritative": True, "policy_version": 2,
    "taken_at": "2026-03-27T18:00:04.117Z", "how": "take", "ended_at": None, "ended_why": None,
}  # fmt: skip
_OWNER = {
    "term": 7, "process": _GATEWAY, "rule": 1, "authoritative": True, "policy_version": 2,
    "since": "2026-03-27T18:00:04.117Z", "progress_at": "2026-03-29T05:00:00.004Z",
}  # fmt: skip
_RULE = {
    "number": 1, "words": "rule 1 admits the service ai.hermes.gateway-la (authoritative)",
    "refuse": False, "authoritative": True, "after": 0,
}  # fmt: skip

EXAMPLES: dict[type[Document], dict[str, Any]] = {
    JobReply: {
        "v": 1,
        "job": {
            "id": _JOB, "name": "read-mail", "schedule": _SCHEDULE,
            "command": ["/usr/local/bin/read-mail", "--new"], "shell": False,
            "env": {"LANG": "C.UTF-8", "API_KEY": "********"}, "cwd": None, "stdin": None,
            "protected": True, "requires": [], "overlap": "skip", "catch_up": "latest",
            "catch_up_window": None, "grace": 60, "jitter": 0, "timeout": 600, "retries": 0,
            "backoff": 10, "retry_lost": False, "tags": ["mail"], "revision": 3,
            "approved_revision": 0, "state": "active", "created_at": "2026-03-01T09:12:44Z",
            "edited_at": "2026-03-20T15:03:02Z", "edited_by": "ada, pid 4242, tenure edit",
            "watermark": "2026-03-28T06:00:00Z", "next_fire": "2026-03-29T05:00:00Z", "app": None,
            "unreadable": None,
        },
        "next": ["2026-03-29T05:00:00Z", "2026-03-30T05:00:00Z", "2026-03-31T05:00:00Z"],
        "warnings": [],
    },
    PreviewReply: {
        "v": 1,
        "schedule": _SCHEDULE,
        "words": "at 07:00 every day (Europe/Berlin)",
        "note": None,
        "fires": [
            {
                "fire_time": "2026-03-29T05:00:00Z", "local": "2026-03-29T07:00:00+02:00",
                "offset": "+02:00", "abbreviation": "CEST", "clock_change": 3600, "twice": None,
            }
        ],
    },
    UpcomingList: {
        "v": 1,
        "next_fires": [
            {"job": _JOB, "job_name": "read-mail", "fire_time": "2026-03-29T05:00:00Z"}
        ],
        "next": None,
    },
    RunReply: {
        "v": 1,
        "run": {
            "id": _RUN, "job": _JOB, "job_name": "read-mail", "revision": 3,
            "fire_time": "2026-03-28T06:00:00Z", "cause": "schedule", "state": "succeeded",
            "reason": None, "protected": True, "term": 7, "process": _GATEWAY,
            "holder": _GATEWAY, "pid": 51234, "claimed_at": "2026-03-28T06:00:00.003Z",
            "started_at": "2026-03-28T06:00:00.009Z", "finished_at": "2026-03-28T06:00:04.870Z",
            "retry_at": None, "exit_code": 0, "signal": None, "attempts": [], "late": None,
            "request": None, "requested_by": None, "cancel_requested_at": None, "log": "1.log",
            "evidence": None,
        },
    },
    RequestReply: {
        "v": 1,
        "request": {
            "id": _REQUEST, "kind": "trigger", "key": "5a0c1f", "state": "accepted", "job": _JOB,
            "run": _RUN, "to_process": None, "queued": False,
            "asked_at": "2026-03-28T09:00:00Z", "deadline": "2026-03-28T09:00:30Z",
            "answered_at": "2026-03-28T09:00:00.005Z", "term": 7,
            "answer": f"claimed as run {_RUN}", "remedy": None,
            "requester": {
                "pid": 6998, "uid": 1000, "user": "ada", "executable": "/usr/bin/python3.11",
                "via": "tenure dashboard, API", "observed": True,
            },
        },
    },
    OwnerReply: {
        "v": 1, "owner": _OWNER, "life": "alive", "process": None, "terms": [_TERM],
        "why_nobody": None, "who_should": _RULE["words"],
    },
    TermList: {"v": 1, "terms": [_TERM], "next": None},
    PolicyReply: {
        "v": 1, "version": 2, "open": False,
        "text": '[[owner]]\nservice = "ai.hermes.gateway-la"\n', "hash": "9f2c...",
        "rules": [_RULE], "warnings": [],
    },
    EventList: {
        "v": 1,
        "events": [
            {
                "number": 7, "kind": "job_edited", "at": "2026-03-20T15:03:02Z", "term": None,
                "process": None, "job": _JOB, "run": None,
                "facts": {"revision": 3, "by": "ada, pid 4242, tenure edit"},
            }
        ],
        "next": 7,
    },
    ProfileList: {
        "v": 1,
        "profiles": [
            {
                "name": "default", "folder": "/home/ada/.tenure/profiles/default",
                "owner": {**_OWNER, "life": "alive"}, "state": "owned", "warnings": [],
                "jobs": {"active": 12, "paused": 1, "protected": 3, "active_runs": 0,
                         "open_holds": 0, "pending_requests": 0},
                "error": None,
            }
        ],
        "next": None,
    },
    AuditReply: {
        "v": 1, "at": "2026-03-28T09:00:00Z", "clean": True, "findings": [],
        "checked": {"runs": 812, "fires": 815, "terms": 7}, "not_checked": {}, "notes": [],
    },
}  # fmt: skip


def add_examples(schemas: dict[str, Any]) -> None:
    """Give each shape of a description its example."""
    for shape, example in EXAMPLES.items():
        if shape.__name__ in schemas:
            schemas[shape.__name__]["example"] = example

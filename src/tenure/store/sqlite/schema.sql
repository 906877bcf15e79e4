-- Schema 1. Instants are INTEGER microseconds since 1970, UTC. Ids are text; see ids.py.
-- What can be derived is derived: no counters, no copies of a definition.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

-- C1: one row, the only truth about who owns.
CREATE TABLE ownership (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    hold            TEXT NOT NULL DEFAULT 'vacant',
    term            INTEGER NOT NULL DEFAULT 0,
    process         TEXT,
    rule            INTEGER,
    authoritative   INTEGER NOT NULL DEFAULT 0,
    policy_version  INTEGER NOT NULL DEFAULT 0,
    since           INTEGER,
    progress_at     INTEGER,
    progress_awake  REAL,
    boot_id         TEXT,
    ended_at        INTEGER,
    ended_why       TEXT NOT NULL DEFAULT '',
    reserved_for    TEXT,
    reserved_until  INTEGER
);
INSERT INTO ownership (one) VALUES (1);

CREATE TABLE terms (
    term            INTEGER PRIMARY KEY,
    process         TEXT NOT NULL,
    rule            INTEGER,
    authoritative   INTEGER NOT NULL,
    policy_version  INTEGER NOT NULL,
    taken_at        INTEGER NOT NULL,
    how             TEXT NOT NULL,
    ended_at        INTEGER,
    ended_why       TEXT NOT NULL DEFAULT ''
);

CREATE TABLE policies (
    version      INTEGER PRIMARY KEY,
    text         TEXT NOT NULL,
    hash         TEXT NOT NULL,
    rules        TEXT NOT NULL,
    accepted_at  INTEGER NOT NULL,
    accepted_by  TEXT NOT NULL
);

CREATE TABLE absences (
    rank     INTEGER PRIMARY KEY,
    boot_id  TEXT NOT NULL,
    awake    REAL NOT NULL,
    since    INTEGER NOT NULL
);

CREATE TABLE processes (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    evidence     TEXT NOT NULL,
    joined_at    INTEGER NOT NULL,
    executes     INTEGER NOT NULL,
    standing     TEXT NOT NULL,
    why          TEXT NOT NULL,
    role         TEXT,
    rule         INTEGER,
    app          TEXT,
    app_version  TEXT,
    socket       TEXT,
    left_at      INTEGER
);
CREATE INDEX processes_here ON processes (joined_at) WHERE left_at IS NULL;

CREATE TABLE jobs (
    seq                INTEGER PRIMARY KEY,
    id                 TEXT NOT NULL UNIQUE,
    name               TEXT NOT NULL,
    revision           INTEGER NOT NULL,
    state              TEXT NOT NULL,
    runner             TEXT NOT NULL,
    needs_authority    INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    watermark          INTEGER NOT NULL,
    accounted_from     INTEGER NOT NULL,
    purged_until       INTEGER,
    due_at             INTEGER CHECK (due_at IS NULL OR state = 'active'),
    waiting            INTEGER NOT NULL DEFAULT 0,
    deferred           INTEGER NOT NULL DEFAULT 0,
    approved_revision  INTEGER NOT NULL DEFAULT 0,
    app                TEXT,
    app_version        TEXT
);
CREATE UNIQUE INDEX jobs_name ON jobs (name) WHERE state <> 'removed';
-- Names that look alike. A store that was made before these two reads all names instead.
CREATE INDEX jobs_alike ON jobs (lower(name)) WHERE state <> 'removed';
CREATE INDEX jobs_not_ascii ON jobs (id) WHERE length(CAST(name AS BLOB)) <> length(name);
CREATE INDEX jobs_due ON jobs (runner, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_calls ON jobs (state) WHERE runner <> 'command';
CREATE INDEX jobs_app ON jobs (app) WHERE app IS NOT NULL;

CREATE TABLE job_revisions (
    job          TEXT NOT NULL REFERENCES jobs (id),
    revision     INTEGER NOT NULL,
    definition   TEXT NOT NULL,
    edited_at    INTEGER NOT NULL,
    edited_by    TEXT NOT NULL,
    valid_after  INTEGER NOT NULL,
    PRIMARY KEY (job, revision)
) WITHOUT ROWID;

CREATE TABLE runs (
    seq                  INTEGER PRIMARY KEY,
    id                   TEXT NOT NULL UNIQUE,
    job                  TEXT NOT NULL REFERENCES jobs (id),
    job_name             TEXT NOT NULL,
    revision             INTEGER NOT NULL,
    fire_time            INTEGER NOT NULL,
    cause                TEXT NOT NULL,
    state                TEXT NOT NULL,
    term                 INTEGER NOT NULL,
    process              TEXT NOT NULL,
    holder               TEXT NOT NULL,
    policy_version       INTEGER NOT NULL,
    protected            INTEGER NOT NULL,
    attempt              INTEGER NOT NULL,
    claimed_at           INTEGER NOT NULL,
    retry_at             INTEGER,
    started_at           INTEGER,
    finished_at          INTEGER,
    reason               TEXT NOT NULL DEFAULT '',
    exit_code            INTEGER,
    signal               INTEGER,
    identity             TEXT,
    log                  TEXT,
    request              TEXT,
    cancel_requested_at  INTEGER,
    late                 TEXT,
    UNIQUE (job, fire_time)  -- C4: a fire is claimed once
);
CREATE INDEX runs_claimed ON runs (claimed_at);
CREATE INDEX runs_active ON runs (job) WHERE state IN ('claimed', 'running', 'retrying');
CREATE INDEX runs_held ON runs (holder) WHERE state IN ('claimed', 'running');
CREATE INDEX runs_retry ON runs (retry_at) WHERE state = 'retrying';

-- Attempts before the current one.
CREATE TABLE attempts (
    run          TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    claimed_at   INTEGER NOT NULL,
    term         INTEGER NOT NULL,
    process      TEXT NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER,
    state        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    exit_code    INTEGER,
    signal       INTEGER,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;

-- C4 outlives retention: from the first to the last fire that one purge deleted; never overlapping.
CREATE TABLE purged_spans (
    job    TEXT NOT NULL REFERENCES jobs (id),
    last   INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    PRIMARY KEY (job, last)
) WITHOUT ROWID;

CREATE TABLE omissions (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    job            TEXT NOT NULL REFERENCES jobs (id),
    job_name       TEXT NOT NULL,
    revision       INTEGER NOT NULL,
    kind           TEXT NOT NULL,
    first          INTEGER NOT NULL,
    last           INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    reason         TEXT NOT NULL,
    decided_at     INTEGER NOT NULL,
    decided_by     TEXT NOT NULL,
    term           INTEGER NOT NULL,
    resolved_at    INTEGER,
    resolution     TEXT NOT NULL DEFAULT '',
    claimed        INTEGER NOT NULL DEFAULT 0,
    settled_until  INTEGER,
    cut_at         INTEGER
);
CREATE INDEX omissions_job ON omissions (job, last);
CREATE INDEX omissions_open ON omissions (job, id) WHERE kind = 'held' AND resolved_at IS NULL;

CREATE TABLE requests (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    key          TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL,
    asked_at     INTEGER NOT NULL,
    deadline     INTEGER NOT NULL,
    requester    TEXT NOT NULL,
    job          TEXT,
    run          TEXT,
    to_process   TEXT,
    queued       INTEGER NOT NULL,
    answered_at  INTEGER,
    term         INTEGER,
    answer       TEXT NOT NULL DEFAULT '',
    remedy       TEXT NOT NULL DEFAULT ''
);
CREATE INDEX requests_pending ON requests (deadline) WHERE state = 'pending';

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    term     INTEGER,
    process  TEXT,
    job      TEXT,
    run      TEXT,
    facts    TEXT NOT NULL
);

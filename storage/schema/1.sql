-- Schema 1. The event log is the truth, ordered by seq over all studies; the other tables hold what an event carries
-- (trial, attempt, result) once, with the constraints that make a broken rule fail instead of being stored.
-- Times are microseconds since 1970, UTC.

CREATE TABLE study (
  id             INTEGER PRIMARY KEY CHECK (id > 0),
  name           TEXT NOT NULL UNIQUE,
  canonical_json TEXT NOT NULL,
  inputs         TEXT NOT NULL,
  data_sha256    TEXT NOT NULL,
  created_at     INTEGER NOT NULL,
  active_seconds REAL NOT NULL DEFAULT 0 CHECK (active_seconds >= 0)
) STRICT;

CREATE TABLE event (
  seq          INTEGER PRIMARY KEY CHECK (seq > 0),
  study        INTEGER NOT NULL REFERENCES study (id),
  kind         TEXT NOT NULL,
  trial        INTEGER NOT NULL CHECK (trial >= 0),
  rung         INTEGER NOT NULL CHECK (rung >= 0),
  replicate    INTEGER NOT NULL CHECK (replicate >= 0),
  attempt_kind TEXT NOT NULL CHECK (attempt_kind IN ('train', 'evaluate')),
  attempt      INTEGER NOT NULL CHECK (attempt >= 0),
  at           INTEGER NOT NULL,
  body         TEXT NOT NULL
) STRICT;
CREATE INDEX event_of_trial ON event (study, trial);

CREATE TABLE trial (
  study      INTEGER NOT NULL REFERENCES study (id),
  trial      INTEGER NOT NULL CHECK (trial > 0),
  created    INTEGER NOT NULL UNIQUE REFERENCES event (seq),
  config     TEXT NOT NULL,
  origin     TEXT NOT NULL,
  bracket    INTEGER NOT NULL,
  first_rung INTEGER NOT NULL CHECK (first_rung >= 0),
  PRIMARY KEY (study, trial)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
  study          INTEGER NOT NULL,
  trial          INTEGER NOT NULL,
  rung           INTEGER NOT NULL,
  replicate      INTEGER NOT NULL,
  kind           TEXT NOT NULL CHECK (kind IN ('train', 'evaluate')),
  attempt        INTEGER NOT NULL CHECK (attempt > 0),
  granted        INTEGER NOT NULL UNIQUE REFERENCES event (seq),
  ended          INTEGER UNIQUE REFERENCES event (seq),
  worker         TEXT NOT NULL,
  resume_rung    INTEGER NOT NULL,
  resume_attempt INTEGER NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('running', 'reported', 'failed', 'lost')),
  PRIMARY KEY (study, trial, rung, replicate, kind, attempt),
  FOREIGN KEY (study, trial) REFERENCES trial (study, trial),
  CHECK ((ended IS NULL) = (state = 'running'))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_running_attempt ON attempt (study, trial, rung, replicate, kind) WHERE state = 'running';

CREATE TABLE result (
  study          INTEGER NOT NULL,
  trial          INTEGER NOT NULL,
  rung           INTEGER NOT NULL,
  replicate      INTEGER NOT NULL,
  kind           TEXT NOT NULL CHECK (kind IN ('train', 'evaluate')),
  attempt        INTEGER NOT NULL CHECK (attempt >= 0),
  stored         INTEGER NOT NULL UNIQUE REFERENCES event (seq),
  metrics        TEXT NOT NULL,
  outputs        TEXT NOT NULL,
  charged        REAL NOT NULL,
  device_seconds REAL NOT NULL,
  identity       TEXT NOT NULL,
  copied_from    TEXT,
  PRIMARY KEY (study, trial, rung, replicate, kind),
  FOREIGN KEY (study, trial) REFERENCES trial (study, trial)
) STRICT, WITHOUT ROWID;

-- One value of a learning curve; value NULL is NaN.
CREATE TABLE metric_point (
  study     INTEGER NOT NULL,
  trial     INTEGER NOT NULL,
  rung      INTEGER NOT NULL,
  replicate INTEGER NOT NULL,
  attempt   INTEGER NOT NULL,
  step      INTEGER NOT NULL,
  name      TEXT NOT NULL,
  budget    REAL NOT NULL,
  value     REAL,
  PRIMARY KEY (study, trial, rung, replicate, attempt, step, name)
) STRICT, WITHOUT ROWID;

-- What a request with this id was answered; the same id and payload gets the same answer.
CREATE TABLE request (
  number         INTEGER PRIMARY KEY,
  request_id     TEXT NOT NULL UNIQUE,
  payload_sha256 TEXT NOT NULL,
  answer         BLOB NOT NULL
) STRICT;

-- The latest process of each worker, so that a new coordinator can prove it dead.
CREATE TABLE worker (
  name       TEXT PRIMARY KEY,
  slot       TEXT NOT NULL,
  instance   TEXT NOT NULL,
  host       TEXT NOT NULL,
  boot_id    TEXT NOT NULL,
  pid        INTEGER NOT NULL,
  start_time INTEGER NOT NULL,
  device     TEXT NOT NULL,
  slurm_job  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

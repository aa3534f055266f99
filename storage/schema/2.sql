-- Schema 2: attempts are numbered by kind, so a point's key has it too. What schema 1 holds counts as training: of two that
-- shared a key only the later one is left.

CREATE TABLE metric_point_2 (
  study     INTEGER NOT NULL,
  trial     INTEGER NOT NULL,
  kind      TEXT NOT NULL CHECK (kind IN ('train', 'evaluate')),
  rung      INTEGER NOT NULL,
  replicate INTEGER NOT NULL,
  attempt   INTEGER NOT NULL,
  step      INTEGER NOT NULL,
  name      TEXT NOT NULL,
  budget    REAL NOT NULL,
  value     REAL,
  PRIMARY KEY (study, trial, kind, rung, replicate, attempt, step, name)
) STRICT, WITHOUT ROWID;
INSERT INTO metric_point_2
  SELECT study, trial, 'train', rung, replicate, attempt, step, name, budget, value FROM metric_point;
DROP TABLE metric_point;
ALTER TABLE metric_point_2 RENAME TO metric_point;

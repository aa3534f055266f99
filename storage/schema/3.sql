-- Schema 3: the time that workers waited for an attempt of the study. What was waited before is not known.

ALTER TABLE study ADD COLUMN idle_seconds REAL NOT NULL DEFAULT 0;

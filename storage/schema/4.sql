-- Schema 4: who was sent home stays so over a restart of the coordinator. Before, no restart remembered it.

ALTER TABLE worker ADD COLUMN sent_home TEXT NOT NULL DEFAULT '';

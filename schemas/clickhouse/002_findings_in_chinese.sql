-- The same sentence for people who read Chinese; empty in rows from before.
ALTER TABLE {database}.findings {on_cluster} ADD COLUMN IF NOT EXISTS message_zh String;

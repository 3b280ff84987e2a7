-- A person's verdict beside the machine's: `verdict` is what holds. Rows from before have the machine's alone.
ALTER TABLE {database}.episodes {on_cluster} ADD COLUMN IF NOT EXISTS machine_verdict LowCardinality(String) DEFAULT verdict;
ALTER TABLE {database}.episodes {on_cluster} ADD COLUMN IF NOT EXISTS review_verdict LowCardinality(String) COMMENT 'ACCEPT or REJECT; empty = nobody reviewed it';
ALTER TABLE {database}.episodes {on_cluster} ADD COLUMN IF NOT EXISTS reviewed_by LowCardinality(String) COMMENT 'pseudonym';
ALTER TABLE {database}.episodes {on_cluster} ADD COLUMN IF NOT EXISTS review_note String;
ALTER TABLE {database}.episodes {on_cluster} ADD COLUMN IF NOT EXISTS reviewed_at DateTime64(3, 'UTC') COMMENT 'broker time of the review';
ALTER TABLE {database}.episodes {on_cluster} ADD COLUMN IF NOT EXISTS reviewed_revision UInt32 COMMENT 'the revision the person saw';

-- What other episodes ask of an episode, each row where they look for it: `bucket` is a hash of the question. A look-up
-- reads the few rows of its buckets, however many episodes there are: small blocks, as each is unpacked for a few rows.
-- Rows of near takes hold but the key.
CREATE TABLE IF NOT EXISTS {database}.takes {on_cluster}
(
    bucket        UInt64 COMMENT 'take: of the episode; exact: of its values; near: of a band of its signature; task: of its task',
    started_ms    Int64 COMMENT 'broker time of its first record',
    take          UInt64 COMMENT 'bucket of the episode''s own row',
    version       UInt64 COMMENT 'revision << 32 | generation',
    kind          LowCardinality(String) COMMENT 'take, exact, near or task',
    gone          UInt8 COMMENT 'withdrawn, or no longer of this task',
    episode_id    String COMMENT 'take, task',
    digest        String COMMENT 'take: hash of positions and commands',
    seconds       Float64 COMMENT 'take, task: by robot stamps',
    signature     Array(Int16) COMMENT 'take: 32 poses from the first, joint by joint, of length 32767' CODEC(Delta(2), ZSTD(3)),
    metric_ids    Array(LowCardinality(String)) COMMENT 'task: risks that only the task judges',
    metric_values Array(Float64),
    start_pose    Array(Float32) COMMENT 'task: first and last position',
    end_pose      Array(Float32)
)
ENGINE = {engine}ReplacingMergeTree(version)
ORDER BY (bucket, started_ms, take)
SETTINGS index_granularity = 512, min_compress_block_size = 4096, max_compress_block_size = 16384;

-- Statistics of a task, each row for ever as it is: what judged by it can be judged again.
CREATE TABLE IF NOT EXISTS {database}.task_statistics {on_cluster}
(
    task         UInt64 COMMENT 'bucket of the task: tenant, skill, model and joints',
    newest_ms    Int64 COMMENT 'broker time of the newest episode''s first record',
    statistics   String COMMENT 'names this row in rule versions',
    tenant       LowCardinality(String),
    skill        LowCardinality(String),
    model_id     LowCardinality(String),
    joints       Array(LowCardinality(String)),
    episodes     UInt32,
    content      String COMMENT 'JSON: medians and median absolute deviations, mean poses and quartiles of distances to them'
)
ENGINE = {engine}ReplacingMergeTree
ORDER BY (task, newest_ms, statistics)
SETTINGS index_granularity = 256;

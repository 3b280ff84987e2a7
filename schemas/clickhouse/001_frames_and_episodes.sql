-- One row a block of 128 frames (docs/contract.md, "Frame rows"). Only ever grows: the row with more frames, or the
-- later offset, replaces the earlier. No column holds the time of writing.
CREATE TABLE IF NOT EXISTS {database}.frame_blocks {on_cluster}
(
    stored_day     Date COMMENT 'UTC broker day of the episode''s first record',
    robot_id       LowCardinality(String),
    episode_id     String,
    block          UInt32 COMMENT 'frames [128*block, 128*block+128)',
    version        UInt64 COMMENT 'frames present << 48 | last_offset',
    last_offset    Int64,
    frames         UInt16,
    duplicates     UInt32,
    conflicts      UInt32 COMMENT 'duplicates whose values differ',
    reordered      UInt32,
    seq            Array(UInt32) CODEC(Delta(4), ZSTD(3)),
    t_ns           Array(Int64) COMMENT 'robot stamps, ns since the epoch, UTC' CODEC(DoubleDelta, ZSTD(3)),
    broker_ms      Array(Int64) COMMENT 'broker time of each frame''s record' CODEC(Delta(8), ZSTD(3)),
    position       Array(Float32) COMMENT 'joint-major: joint 0''s frames first' CODEC(Delta(4), ZSTD(3)),
    velocity       Array(Float32) CODEC(Delta(4), ZSTD(3)),
    effort         Array(Float32) CODEC(Delta(4), ZSTD(3)),
    command        Array(Float32) CODEC(Delta(4), ZSTD(3)),
    channel_names  Array(LowCardinality(String)) COMMENT 'further channels, sorted',
    channel_values Array(Array(Float32)) COMMENT 'element-major, one array a channel' CODEC(Delta(4), ZSTD(3)),
    leaf_names     Array(LowCardinality(String)),
    leaves         Array(FixedString(16)) COMMENT 'xxh3-128 of each channel; t relative to this block''s first frame',
    INDEX episode episode_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {engine}ReplacingMergeTree(version)
PARTITION BY stored_day
ORDER BY (robot_id, episode_id, block)
SETTINGS index_granularity = 64;

-- One row an episode, the latest revision. Nothing in the key ever changes.
CREATE TABLE IF NOT EXISTS {database}.episodes {on_cluster}
(
    stored_day       Date,
    episode_id       String,
    version          UInt64 COMMENT 'revision << 32 | generation',
    revision         UInt32,
    generation       UInt32,
    tenant           LowCardinality(String),
    robot_id         LowCardinality(String),
    model_id         LowCardinality(String),
    boot_id          String,
    episode_no       Int64,
    skill            LowCardinality(String),
    area             LowCardinality(String),
    site             LowCardinality(String),
    station          LowCardinality(String),
    operator         LowCardinality(String) COMMENT 'pseudonym',
    task             String,
    status           LowCardinality(String),
    outcome          LowCardinality(String),
    verdict          LowCardinality(String),
    reason           LowCardinality(String),
    final            UInt8,
    frames_expected  UInt64,
    frames           UInt64 COMMENT 'unique frames',
    duplicates       UInt64,
    late             UInt64,
    missing          UInt64,
    missing_ranges   Array(Tuple(first UInt64, last UInt64)) COMMENT 'the 20 largest',
    blocks           UInt32,
    started_at       DateTime64(3, 'UTC') COMMENT 'broker time of the first record',
    ended_at         DateTime64(3, 'UTC') COMMENT 'broker time of the last record',
    duration_s       Float64 COMMENT 'by robot stamps',
    nominal_rate_hz  Float64,
    joints           Array(String),
    channel_names    Array(LowCardinality(String)) COMMENT 'every measured channel, position first',
    channel_widths   Array(UInt32),
    content_hash     String,
    hash_verified    UInt8,
    rule_version     String,
    metric_ids       Array(LowCardinality(String)),
    metric_joints    Array(LowCardinality(String)),
    metric_values    Array(Float64) COMMENT 'nan = no value',
    metric_flags     Array(LowCardinality(String)),
    findings         UInt32,
    cluster_id       LowCardinality(String),
    topic            LowCardinality(String),
    `partition`      UInt16,
    first_offset     Int64,
    last_offset      Int64,
    source           String COMMENT 'recording the episode was published from, or empty',
    event            String COMMENT 'the framed EpisodeCompleted, byte for byte',
    facts            String COMMENT 'JSON: what reopening needs besides the framed records',
    start            String COMMENT 'the framed EpisodeStart',
    marks            Array(String) COMMENT 'the framed EpisodeMarks',
    `end`            String COMMENT 'the framed EpisodeEnd, or empty',
    INDEX by_robot robot_id TYPE set(200) GRANULARITY 1,
    INDEX by_id episode_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {engine}ReplacingMergeTree(version)
PARTITION BY toYYYYMM(stored_day)
ORDER BY (stored_day, episode_id)
SETTINGS index_granularity = 2048;

-- What is in flight: one row an episode, and the outbox of its announcement.
CREATE TABLE IF NOT EXISTS {database}.journal {on_cluster}
(
    cluster_id    LowCardinality(String),
    topic         LowCardinality(String),
    `partition`   UInt16,
    episode_id    String,
    version       UInt64,
    is_deleted    UInt8,
    stored_day    Date,
    phase         LowCardinality(String) COMMENT 'OPEN, ENDED or CLOSED',
    facts         String COMMENT 'JSON: offsets, times, counts, rule version',
    start         String COMMENT 'the framed EpisodeStart',
    marks         Array(String) COMMENT 'the framed EpisodeMarks',
    `end`         String COMMENT 'the framed EpisodeEnd, or empty',
    closed        String COMMENT 'CLOSED: the episode row as JSON',
    event         String COMMENT 'CLOSED: the framed event'
)
ENGINE = {engine}ReplacingMergeTree(version, is_deleted)
ORDER BY (cluster_id, topic, `partition`, episode_id)
SETTINGS index_granularity = 256;

CREATE TABLE IF NOT EXISTS {database}.findings {on_cluster}
(
    stored_day   Date,
    episode_id   String,
    finding_id   String COMMENT 'xxh3 of episode_id, metric, joint, first frame',
    version      UInt64 COMMENT 'final << 63 | revision << 48 | last frame judged << 2 | state',
    tenant       LowCardinality(String),
    robot_id     LowCardinality(String),
    model_id     LowCardinality(String),
    skill        LowCardinality(String),
    metric       LowCardinality(String),
    joint        LowCardinality(String) COMMENT 'joint or channel, or empty',
    flag         LowCardinality(String) COMMENT 'SUSPECT or FAIL',
    state        LowCardinality(String) COMMENT 'RAISED, UPDATED or CLEARED',
    provisional  UInt8,
    value        Float64 COMMENT 'nan = no value',
    unit         LowCardinality(String),
    threshold    Float64,
    origin       LowCardinality(String) COMMENT 'whose threshold: standard, robot, task or ours',
    first_seq    Int64,
    last_seq     Int64,
    t_start_ns   Int64,
    t_end_ns     Int64,
    broker_ms    Int64 COMMENT 'broker time of the record that decided it',
    rule_version String,
    message      String
)
ENGINE = {engine}ReplacingMergeTree(version)
PARTITION BY toYYYYMM(stored_day)
ORDER BY (stored_day, episode_id, finding_id)
SETTINGS index_granularity = 2048;

-- The last word of every robot, once a second.
CREATE TABLE IF NOT EXISTS {database}.robot_live {on_cluster}
(
    tenant          LowCardinality(String),
    robot_id        String,
    version         UInt64 COMMENT 'broker time, ms',
    model_id        LowCardinality(String),
    boot_id         String,
    seen_at         DateTime64(3, 'UTC') COMMENT 'broker time of its last status',
    recording       String COMMENT 'episode being recorded, or empty',
    unsent          UInt32 COMMENT 'episodes not yet sent whole',
    buffered_bytes  UInt64,
    clock_source    LowCardinality(String),
    clock_offset_s  Float64
)
ENGINE = {engine}ReplacingMergeTree(version)
ORDER BY (tenant, robot_id);

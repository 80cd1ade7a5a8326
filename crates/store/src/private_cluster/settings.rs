//! The server's settings: durable, modest in memory, and closed to everything but the socket.

use std::path::Path;

use super::PORT;

/// What suits a daemon that writes much and shares its machine. Every one can be overridden.
const SENSIBLE: [(&str, &str); 22] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("max_connections", "100"),
    ("shared_buffers", "256MB"),
    ("effective_cache_size", "1GB"),
    // Rewritten pages dominate the log after each checkpoint: compress them, and let checkpoints be rare.
    ("wal_compression", "on"),
    ("max_wal_size", "4GB"),
    // After a crash: one request to write everything out instead of one per file, which takes seconds.
    ("recovery_init_sync_method", "syncfs"),
    ("checkpoint_timeout", "15min"),
    ("checkpoint_completion_target", "0.9"),
    // Queue-like tables die by bloat: clean sooner and faster than the defaults, which are made for small machines.
    ("autovacuum_naptime", "20s"),
    ("autovacuum_vacuum_scale_factor", "0.05"),
    ("autovacuum_analyze_scale_factor", "0.05"),
    ("autovacuum_vacuum_cost_limit", "1000"),
    ("random_page_cost", "1.1"),
    // Our statements are short; compiling them costs more than it gains.
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] "),
    ("log_checkpoints", "off"),
    // Texts and numbers of recipients are parameters; they have no place in a log.
    ("log_parameter_max_length_on_error", "0"),
];

/// Ours, then `extra`, then those that nobody may change because we could not reach the server any more.
pub(crate) fn all(extra: &[(String, String)], socket_dir: &Path) -> Vec<(String, String)> {
    let own = SENSIBLE.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let fixed = [
        ("listen_addresses".to_owned(), String::new()),
        ("port".to_owned(), PORT.to_string()),
        ("unix_socket_directories".to_owned(), format!("\"{}\"", socket_dir.display())),
        ("unix_socket_permissions".to_owned(), "0700".to_owned()),
        // The log is the file that we hand over as standard error.
        ("logging_collector".to_owned(), "off".to_owned()),
        ("log_destination".to_owned(), "stderr".to_owned()),
    ];
    own.chain(extra.iter().cloned()).chain(fixed).collect()
}

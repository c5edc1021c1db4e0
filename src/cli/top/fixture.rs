//! Samples for the tests of `top`.

use serde_json::{Value, json};

use super::ask::Sample;

/// Two services, three backends, two connections, after `seconds`; each figure grows with `grown`.
pub(super) fn sample(seconds: f64, grown: u64) -> Sample {
    let backend = |name: &str, state: &str, factor: u64| {
        json!({"name": name, "address": "127.0.0.1:9001", "weight": 1, "backup": false, "state": state,
            "health": {"status": "up", "since": null, "last_check": null, "last_error": null, "latency_seconds": 0.000_21},
            "connections": {"active": 4 + factor, "total": factor * grown, "failed": 0},
            "bytes": {"to_backend": 1024 * factor * grown, "to_client": 0}, "process": null, "origin": "config"})
    };
    let service = |name: &str, port: u16, backends: Vec<Value>| {
        json!({"name": name, "listen": [format!("127.0.0.1:{port}")], "balance": "round_robin",
            "connections": {"active": 9, "total": 3 * grown, "failed": 0, "refused": 0},
            "bytes": {"to_backend": 3072 * grown, "to_client": 5_242_880 * grown}, "backends": backends})
    };
    let connection = |id: &str, bytes: u64| {
        json!({"id": id, "service": "echo", "client": format!("10.0.0.1:{id}"), "backend": "server-9001", "phase": "relaying",
            "seconds": seconds / 2.0, "bytes_to_backend": bytes, "bytes_to_client": 0})
    };
    let echo = vec![backend("server-9001", "up", 1), backend("server-9002", "down", 2)];
    let status = json!({"version": "0.1.0", "pid": 7, "uptime_seconds": seconds, "state": "running", "workers": 2,
        "connections": {"active": 9, "total": 6 * grown, "refused": 0},
        "services": [service("echo", 9000, echo), service("db", 5432, vec![backend("db-1", "draining", 1)])]});
    let live = vec![connection("5001", 10), connection("5002", 4096 * grown)];
    Sample {
        status: serde_json::from_value(status).unwrap(),
        connections: serde_json::from_value(json!({"connections": live, "is_truncated": false})).unwrap(),
    }
}

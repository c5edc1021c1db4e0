//! Where and when something was measured.

use std::fs;

/// Processor, cores, memory, kernel.
pub(crate) fn machine() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split(':')
                .nth(1)
                .map(|name| name.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory_kib: f64 = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    format!(
        "{processor}, {cores} cores, {:.0} GiB, Linux {}, TCP {}",
        memory_kib / f64::from(1 << 20),
        kernel.trim(),
        congestion.trim()
    )
}

/// The date, in UTC.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

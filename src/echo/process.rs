//! This process's own CPU time, memory and start time, from `/proc` (proc(5)). Called by the HTTP side.

use std::fs;

/// What `/proc` says of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProcessFacts {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    /// Seconds since 1970.
    pub(super) start_seconds: f64,
}

/// Reads the facts; nothing where `/proc` is not mounted or not as proc(5) has it.
pub(super) fn read() -> Option<ProcessFacts> {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    parse(
        &fs::read_to_string("/proc/self/stat").ok()?,
        &fs::read_to_string("/proc/stat").ok()?,
        ticks_per_second as f64,
        rustix::param::page_size() as u64,
    )
}

fn parse(own: &str, system: &str, ticks_per_second: f64, page_bytes: u64) -> Option<ProcessFacts> {
    // The name stands in parentheses and may hold anything: fields are counted after the last one. Field 3 comes first then.
    let (_, fields) = own.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second;
    let boot_seconds: f64 = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(ProcessFacts {
        cpu_seconds: seconds(field(14)?.saturating_add(field(15)?)),
        resident_bytes: field(24)?.saturating_mul(page_bytes),
        start_seconds: boot_seconds + seconds(field(22)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let own = "7 (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 3 0 1000 9999 12 0";
        let facts = parse(own, "cpu 1 2\nbtime 1000\n", 100.0, 4096).unwrap();
        assert_eq!(facts.cpu_seconds, 3.0);
        assert_eq!(facts.resident_bytes, 12 * 4096);
        assert_eq!(facts.start_seconds, 1010.0);
    }

    #[test]
    fn this_process_has_memory_and_started_after_1970() {
        let facts = read().unwrap();
        assert!(facts.resident_bytes > 0);
        assert!(facts.start_seconds > 1.0e9);
    }
}

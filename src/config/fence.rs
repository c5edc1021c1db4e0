//! `[service.access]` and `[service.limits]`: who may connect, and how much of a service one source may take.
//!
//! Called by `sections`. May not: look at a connection; `fence` does.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use super::networks::some_or_none;
use super::problems::Findings;
use super::reader::{Field, Integers, Table};
use super::scalars;
use super::{ACCESS_NETWORKS_MAX, BACKLOG_MAX, MAX_SESSION, SOURCE_RATE_MAX};

/// `[service.access]`: of the networks that hold a client's address the one with the longest prefix says whether it may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// If there are some, who is in no network of either list may not.
    pub allow: Vec<IpNet>,
    /// None of them stands in `allow` too.
    pub deny: Vec<IpNet>,
}

/// `[service.limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Live connections of one source: an IPv4 address, or the /64 of an IPv6 one.
    pub per_source: Option<NonZeroU32>,
    /// How often one source may come.
    pub rate_per_source: Option<SourceRate>,
    /// Connections that may wait in a listener's queue.
    pub backlog: u32,
    /// How long a session may live; `None` = as long as it likes.
    pub max_session: Option<Duration>,
}

/// `rate_per_source` and `burst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRate {
    /// From one connection to the next.
    pub every: Duration,
    /// Those that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// `[service.access]`.
pub(super) fn access(table: &Table, findings: &mut Findings) -> Access {
    let mut list = |key: &str| {
        table
            .get(key)
            .map_or_else(Vec::new, |field| some_or_none(&field, ACCESS_NETWORKS_MAX, findings))
    };
    let (allow, deny) = (list("allow"), list("deny"));
    let allowed: std::collections::HashSet<_> = allow.iter().collect();
    if let Some(both) = deny.iter().find(|network| allowed.contains(network))
        && let Some(field) = table.get("deny")
    {
        findings.add(
            field.at,
            field.path,
            format!("{both} stands in allow and in deny; it is either"),
        );
    }
    Access { allow, deny }
}

/// `[service.limits]`.
pub(super) fn limits(table: &Table, findings: &mut Findings) -> Limits {
    let per_source = Integers {
        range: 0..=u32::MAX,
        zero: "no limit",
    };
    let bursts = Integers {
        range: 1..=SOURCE_RATE_MAX,
        zero: "",
    };
    let backlogs = Integers {
        range: 1..=BACKLOG_MAX,
        zero: "",
    };
    let rate = table.get("rate_per_source").and_then(|field| rate(&field, findings));
    let burst = table.get("burst").and_then(|field| {
        let burst = field.integer(&bursts, findings).and_then(NonZeroU32::new);
        if table.get("rate_per_source").is_none() {
            findings.add(field.at, field.path, "this key goes with rate_per_source");
        }
        burst
    });
    Limits {
        per_source: NonZeroU32::new(table.integer("per_source", &per_source, 0, findings)),
        rate_per_source: rate.map(|(count, per)| SourceRate {
            every: per.checked_div(count.get()).unwrap_or(per),
            // A second's worth: who comes evenly over each second is never refused.
            burst: burst.unwrap_or_else(|| within_a_second(count, per)),
        }),
        backlog: table.integer("tcp_backlog", &backlogs, BACKLOG_MAX, findings),
        max_session: scalars::duration_or_off(table, "max_session", &MAX_SESSION, ("off", "8h"), findings),
    }
}

fn within_a_second(count: NonZeroU32, per: Duration) -> NonZeroU32 {
    let count_in_a_second = u64::from(count.get()).checked_div(per.as_secs().max(1)).unwrap_or(1);
    u32::try_from(count_in_a_second)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN)
}

/// "50/s": so many in a second, a minute or an hour.
fn rate(field: &Field, findings: &mut Findings) -> Option<(NonZeroU32, Duration)> {
    const WANTED: &str = "connections in a time, like \"50/s\", \"600/m\" or \"1000/h\", or \"off\"";
    let text = field.string(WANTED, findings)?;
    if text == "off" {
        return None;
    }
    let found = text.split_once('/').and_then(|(count, unit)| {
        let per = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        let count: u32 = count.trim().parse().ok()?;
        let count = NonZeroU32::new(count).filter(|count| count.get() <= SOURCE_RATE_MAX)?;
        Some((count, per))
    });
    if found.is_none() {
        let hint = match text.parse::<u32>() {
            Ok(0) => "no limit is \"off\"".to_owned(),
            Ok(count) => format!("in which time? \"{count}/s\"?"),
            Err(_) if text.starts_with("0/") => "to let nobody in is [service.access] deny".to_owned(),
            Err(_) => String::new(),
        };
        field.refuse(WANTED, &hint, findings);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Service, parse};

    fn read(sections: &str) -> Result<Service, String> {
        let backend = "[[service.backend]]\nname = \"b\"\naddress = \"10.0.0.1:1\"\n";
        let text = format!("[[service]]\nname = \"s\"\nlisten = \"127.0.0.1:0\"\n{sections}\n{backend}");
        parse("f", &text)
            .map(|mut config| config.services.remove(0))
            .map_err(|problems| problems.to_string())
    }

    fn rate_of(keys: &str) -> (Duration, u32) {
        let rate = read(&format!("[service.limits]\n{keys}"))
            .unwrap()
            .limits
            .rate_per_source
            .unwrap();
        (rate.every, rate.burst.get())
    }

    #[test]
    fn a_rate_is_a_pause_and_a_second_of_it_at_once_unless_burst_says() {
        assert_eq!(rate_of("rate_per_source = \"50/s\""), (Duration::from_millis(20), 50));
        assert_eq!(rate_of("rate_per_source = \"600/m\""), (Duration::from_millis(100), 10));
        assert_eq!(rate_of("rate_per_source = \"6/m\""), (Duration::from_secs(10), 1));
        assert_eq!(rate_of("rate_per_source = \"3600/h\""), (Duration::from_secs(1), 1));
        assert_eq!(
            rate_of("rate_per_source = \"50/s\"\nburst = 7"),
            (Duration::from_millis(20), 7)
        );
    }

    #[test]
    fn without_the_sections_nothing_is_limited() {
        let service = read("").unwrap();
        assert_eq!(service.access, Access::default());
        let Limits {
            per_source,
            rate_per_source,
            max_session,
            ..
        } = service.limits;
        assert_eq!((per_source, rate_per_source, max_session), (None, None, None));
    }

    #[test]
    fn what_cannot_be_is_told_with_what_can() {
        let problem = |sections: &str| read(sections).unwrap_err();
        assert!(problem("[service.limits]\nrate_per_source = \"50\"").contains("in which time? \"50/s\"?"));
        assert!(problem("[service.limits]\nrate_per_source = \"0/s\"").contains("[service.access] deny"));
        assert!(!problem("[service.limits]\nrate_per_source = \"many/s\"").contains("deny"));
        assert!(problem("[service.limits]\nburst = 3").contains("this key goes with rate_per_source"));
        assert!(problem("[service.limits]\nper_sources = 3").contains("did you mean \"per_source\"?"));
        let both = problem("[service.access]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]");
        assert!(both.contains("10.0.0.0/8 stands in allow and in deny"), "{both}");
        let host_bits = problem("[service.access]\ndeny = \"10.1.2.3/8\"");
        assert!(host_bits.contains("that network is \"10.0.0.0/8\""), "{host_bits}");
    }
}

//! Lists of networks, as `allow` and `trusted` have them.
//!
//! May not: look a name up, or take a network whose address says more than its mask.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ALLOWED_NETWORKS_MAX;
use super::problems::{Findings, quoted};
use super::reader::Field;

/// What a message wants.
const WANTED: &str = "networks like [\"10.0.0.0/8\", \"fd00::/8\"]";

/// The networks; `None` if there are none, which `meaning` explains.
pub(super) fn networks(list: &Field, meaning: &str, findings: &mut Findings) -> Option<Vec<IpNet>> {
    if list.is_empty_array() {
        list.refuse(WANTED, meaning, findings);
        return None;
    }
    Some(some_or_none(list, ALLOWED_NETWORKS_MAX, findings))
}

/// So many networks at most, and perhaps none.
pub(super) fn some_or_none(list: &Field, most: usize, findings: &mut Findings) -> Vec<IpNet> {
    let fields = list.one_or_many();
    if let Some(field) = fields.get(most) {
        field.refuse(&format!("at most {most} networks"), "", findings);
    }
    let first = fields.iter().take(most);
    first.filter_map(|field| network(field, findings)).collect()
}

fn network(field: &Field, findings: &mut Findings) -> Option<IpNet> {
    let text = field.string(WANTED, findings)?;
    let hint = match text.parse::<IpNet>() {
        Ok(network) if network.addr() == network.network() => return Some(network),
        // "10.1.2.3/8" is a slip: which part of it was meant?
        Ok(network) => format!("that network is {}", quoted(&network.trunc().to_string())),
        Err(_) => text.parse::<IpAddr>().map_or_else(
            |_| String::new(),
            |address| format!("one address is {}", quoted(&IpNet::from(address).to_string())),
        ),
    };
    field.refuse(WANTED, &hint, findings);
    None
}

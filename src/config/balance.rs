//! `balance` and the keys that go with each policy, and `[service.sticky]`. Called by `sections`.
//!
//! May not: accept a key that the policy would ignore. (`hash_key` may stand beside any, so that policies can be compared by
//! changing one word.)

use super::misfit::Misfit;
use super::outline::join;
use super::problems::{Findings, quoted};
use super::reader::{Field, Integers, Table};
use super::scalars;
use super::shapes::STICKY;
use super::values::{Backend, Balance, HashKey, RingHash, Sticky};
use super::{LOAD_FACTOR, MAGLEV_SLOTS_MIN, SLOTS_MAX, STICKY_SIZE_MAX, STICKY_TTL, VIRTUAL_NODES_MAX};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    RoundRobin,
    LeastConnections,
    RandomTwo,
    Fastest,
    Maglev,
    Ring,
}

const WORDS: [(&str, Word); 6] = [
    ("round_robin", Word::RoundRobin),
    ("least_connections", Word::LeastConnections),
    ("random_two", Word::RandomTwo),
    ("fastest", Word::Fastest),
    ("maglev", Word::Maglev),
    ("ring", Word::Ring),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hash {
    Xxh3,
    Quadratic,
}

const HASHES: [(&str, Hash); 2] = [("xxh3", Hash::Xxh3), ("quadratic", Hash::Quadratic)];

/// Slots of the quadratic ring unless the file says otherwise.
const QUADRATIC_SLOTS: u32 = 512;
/// And its virtual nodes.
const QUADRATIC_NODES: u32 = 9;
/// Virtual nodes of the other ring: shares within 2 % of the weights.
const XXH3_NODES: u32 = 2_048;
/// The paper's smaller table.
const MAGLEV_SLOTS: u32 = 65_537;
/// `load_factor` in thousandths.
const LOAD_THOUSANDTHS: u32 = 1_250;

/// The policy; `None` if it says no valid one.
pub(super) fn balance(table: &Table, findings: &mut Findings) -> Option<Balance> {
    let word = scalars::word(table, "balance", &WORDS, Word::RoundRobin, findings)?;
    let is_ring = word == Word::Ring;
    let is_hashing = is_ring || word == Word::Maglev;
    only_with(table, "hash", is_ring, "balance = \"ring\"", findings);
    only_with(table, "virtual_nodes", is_ring, "balance = \"ring\"", findings);
    let hashing = "balance = \"maglev\" or \"ring\"";
    only_with(table, "load_factor", is_hashing, hashing, findings);
    let hash = if is_ring {
        scalars::word(table, "hash", &HASHES, Hash::Xxh3, findings)?
    } else {
        Hash::Xxh3
    };
    let has_slots = word == Word::Maglev || hash == Hash::Quadratic;
    let slotted = "balance = \"maglev\", or \"ring\" and hash = \"quadratic\"";
    only_with(table, "slots", has_slots, slotted, findings);
    let load_thousandths = load_factor(table, findings);
    let slots = |least: u32| Integers {
        range: least..=SLOTS_MAX,
        zero: "",
    };
    let nodes = Integers {
        range: 1..=VIRTUAL_NODES_MAX,
        zero: "",
    };
    Some(match word {
        Word::RoundRobin => Balance::RoundRobin,
        Word::LeastConnections => Balance::LeastConnections,
        Word::RandomTwo => Balance::RandomTwo,
        Word::Fastest => Balance::Fastest,
        Word::Maglev => {
            let slots = table.integer("slots", &slots(MAGLEV_SLOTS_MIN), MAGLEV_SLOTS, findings);
            prime(table, slots, findings);
            Balance::Maglev {
                slots,
                load_thousandths,
            }
        }
        Word::Ring => Balance::Ring {
            hash: match hash {
                Hash::Xxh3 => RingHash::Xxh3 {
                    virtual_nodes: table.integer("virtual_nodes", &nodes, XXH3_NODES, findings),
                },
                Hash::Quadratic => RingHash::Quadratic {
                    slots: table.integer("slots", &slots(1), QUADRATIC_SLOTS, findings),
                    virtual_nodes: table.integer("virtual_nodes", &nodes, QUADRATIC_NODES, findings),
                },
            },
            load_thousandths,
        },
    })
}

/// Finds a wheel that hasn't room for its backends, or has too many points for them.
pub(super) fn find_misfit(
    table: &Table,
    balance: Balance,
    (backends, replicas): (&[Backend], usize),
    findings: &mut Findings,
) {
    let of_file = backends.iter().map(|backend| (backend.weight, backend.backup));
    let shapes: Vec<(u16, bool)> = of_file.chain((0..replicas).map(|_| (1, false))).collect();
    let Some(Misfit { key, found, wanted }) = balance.misfit(&shapes) else {
        return;
    };
    let (at, path, default) = match table.get(key) {
        Some(field) => (field.at, field.path, ""),
        None => (table.at, join(&table.path, key), ", the default"),
    };
    findings.add(at, path, format!("found {found}{default}, wanted {wanted}"));
}

/// Slots or virtual nodes of all backends.
pub(super) fn slots(balance: Balance, backends: usize) -> usize {
    let (slots, times) = match balance {
        Balance::RoundRobin | Balance::LeastConnections | Balance::RandomTwo | Balance::Fastest => return 0,
        Balance::Maglev { slots, .. } => (slots, 1),
        Balance::Ring { hash, .. } => match hash {
            RingHash::Xxh3 { virtual_nodes } => (virtual_nodes, backends),
            RingHash::Quadratic { slots, .. } => (slots, 1),
        },
    };
    usize::try_from(slots).unwrap_or(usize::MAX).saturating_mul(times)
}

/// What the hashing policies know a client by.
pub(super) fn hash_key(table: &Table, findings: &mut Findings) -> Option<HashKey> {
    let words = [
        ("source_ip", HashKey::SourceIp),
        ("source_address", HashKey::SourceAddress),
        ("connection", HashKey::Connection),
    ];
    scalars::word(table, "hash_key", &words, HashKey::SourceIp, findings)
}

/// `[service.sticky]`, if it is there.
pub(super) fn sticky(table: &Table, findings: &mut Findings) -> Option<Sticky> {
    table.get("sticky")?;
    let section = table.section("sticky", &STICKY, findings);
    let sizes = Integers {
        range: 1..=STICKY_SIZE_MAX,
        zero: "",
    };
    Some(Sticky {
        ttl: scalars::duration(&section, "ttl", &STICKY_TTL, "30m", findings),
        size: section.integer("size", &sizes, 100_000, findings),
    })
}

/// Finds a key that would be ignored.
fn only_with(table: &Table, key: &str, is_used: bool, with: &str, findings: &mut Findings) {
    let Some(field) = table.get(key).filter(|_| !is_used) else {
        return;
    };
    let found = |key: &str, default: &str| match table.get(key).and_then(|field| field.as_str()) {
        Some(word) => format!("{key} = {}", quoted(word)),
        None => format!("{key} = \"{default}\", the default"),
    };
    let mut found_words = found("balance", "round_robin");
    if table.get("balance").and_then(|field| field.as_str()) == Some("ring") {
        found_words = format!("{found_words} and {}", found("hash", "xxh3"));
    }
    findings.add(
        field.at,
        field.path,
        format!("this key goes with {with}, found {found_words}"),
    );
}

/// In thousandths; `None` = unbounded.
fn load_factor(table: &Table, findings: &mut Findings) -> Option<u32> {
    let Some(field) = table.get("load_factor") else {
        return Some(LOAD_THOUSANDTHS);
    };
    let number = field
        .as_number()
        .and_then(|text| text.replace('_', "").parse::<f64>().ok());
    match number {
        Some(0.0) => None,
        Some(factor) if LOAD_FACTOR.contains(&factor) => Some(thousandths(factor)),
        _ => refuse_load_factor(&field, findings),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 100 x 1000, and above 0"
)]
fn thousandths(factor: f64) -> u32 {
    (factor * 1000.0).round() as u32
}

fn refuse_load_factor(field: &Field, findings: &mut Findings) -> Option<u32> {
    let (least, most) = (LOAD_FACTOR.start(), LOAD_FACTOR.end());
    let wanted = format!("a number from {least} to {most}, like 1.25, or 0 (unbounded)");
    if field.as_number().is_some() {
        field.refuse(&wanted, "", findings);
    } else {
        field.refuse_type(&wanted, "", findings);
    }
    None
}

/// Finds a table size that some backends' walks would only half meet, and names the next that is right.
fn prime(table: &Table, slots: u32, findings: &mut Findings) {
    let is_prime = |number: u32| {
        number > 1
            && (2..)
                .take_while(|n: &u32| n.saturating_mul(*n) <= number)
                .all(|n| !number.is_multiple_of(n))
    };
    if let Some(field) = table.get("slots").filter(|_| !is_prime(slots)) {
        let next = (slots..=u32::MAX).find(|number| is_prime(*number));
        let hint = next.map_or_else(String::new, |next| format!("the next one is {next}"));
        field.refuse("a prime, as Maglev's table needs", &hint, findings);
    }
}

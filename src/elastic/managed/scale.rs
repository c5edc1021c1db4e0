//! What is asked about replicas: checked, and done at once; the processes follow.

use std::collections::HashSet;

use super::kept::Kept;
use crate::config;
use crate::control::{Refusal, RefusalKind, ReplicaNames, ReplicaOrder, ReplicaOutcome};
use crate::types::Moment;

/// Does it, or says why not; nothing is changed then.
pub(super) fn carry_out(kept: &mut Kept, order: ReplicaOrder, now: Moment) -> ReplicaOutcome {
    match order {
        ReplicaOrder::Tell => {}
        ReplicaOrder::Add { count, names } => {
            check_number(count, &names, "added")?;
            check_new_names(kept, &names)?;
            check_room(kept, kept.slots.len().saturating_add(count))?;
            kept.add(count, &names, now);
            tell(kept, &format!("{count} more"));
        }
        ReplicaOrder::Remove { count, names } => {
            check_number(count, &names, "removed")?;
            check_known(kept, count, &names)?;
            kept.remove(count, &names, now);
            tell(kept, &format!("{count} less"));
        }
        ReplicaOrder::Set { count } => {
            check_room(kept, count)?;
            if count != kept.slots.len() {
                let before = kept.slots.len();
                kept.set_count(count, now);
                tell(kept, &format!("before {before}"));
            }
        }
    }
    Ok(ReplicaNames {
        service: kept.name.clone(),
        names: kept.names(),
    })
}

fn tell(kept: &Kept, change: &str) {
    log::info!("{}: replicas wanted: {}, {change}", kept.name, kept.slots.len());
}

fn bad(message: String) -> Refusal {
    Refusal::new(RefusalKind::BadValue, message)
}

fn check_number(count: usize, names: &[String], done: &str) -> Result<(), Refusal> {
    if !(1..=config::REPLICAS_MAX).contains(&count) {
        return Err(bad(format!(
            "n: found {count}, wanted a number from 1 to {}",
            config::REPLICAS_MAX
        )));
    }
    if names.len() > count {
        let found = names.len();
        return Err(bad(format!(
            "hostnames: found {found}, wanted at most n = {count}, as many as are {done}"
        )));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => Err(bad(format!(
            "hostnames: \"{}\" stands there twice",
            twice.escape_debug()
        ))),
        None => Ok(()),
    }
}

fn check_new_names(kept: &Kept, names: &[String]) -> Result<(), Refusal> {
    for name in names {
        config::check_name(name).map_err(bad)?;
        let is_replica = kept.slots.iter().any(|slot| slot.name == *name);
        let of_file = kept.settings.iter().flat_map(|settings| &settings.backends);
        if is_replica || of_file.into_iter().any(|backend| backend.name == *name) {
            let message = format!("hostnames: {} has a backend named {name} already", kept.name);
            return Err(Refusal::new(RefusalKind::NameTaken, message));
        }
    }
    Ok(())
}

fn check_known(kept: &Kept, count: usize, names: &[String]) -> Result<(), Refusal> {
    let have = kept.slots.len();
    if count > have {
        return Err(bad(format!(
            "n: found {count}, wanted at most {have}, as many as there are"
        )));
    }
    for name in names {
        if !kept.slots.iter().any(|slot| slot.name == *name) {
            let message = format!(
                "hostnames: {} has no replica named \"{}\"",
                kept.name,
                name.escape_debug()
            );
            return Err(Refusal::new(RefusalKind::UnknownBackend, message));
        }
    }
    Ok(())
}

/// Whether there may be so many.
fn check_room(kept: &Kept, count: usize) -> Result<(), Refusal> {
    let limit = |message: String| Err(Refusal::new(RefusalKind::Limit, message));
    let (Some(settings), Some(managed)) = (&kept.settings, kept.managed()) else {
        return limit(format!("{} has no [service.managed] any more", kept.name));
    };
    let most = managed.ports_count().min(config::REPLICAS_MAX);
    if count > most {
        let (first, last) = (managed.ports.start(), managed.ports.end());
        return limit(format!(
            "n: {count} replicas would be too many, wanted at most {most}: one a port from {first} to {last}, and {} in all",
            config::REPLICAS_MAX
        ));
    }
    let of_file = settings.backends.iter().map(|backend| (backend.weight, backend.backup));
    let shapes: Vec<(u16, bool)> = of_file.chain((0..count).map(|_| (1, false))).collect();
    match settings.balance.misfit(&shapes) {
        Some(config::Misfit { key, found, wanted }) => limit(format!("{key} = {found} doesn't fit, wanted {wanted}")),
        None => Ok(()),
    }
}

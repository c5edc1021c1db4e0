//! The backends of a service that somebody else than its file or an operator brings: lb's own processes, or what was found. Whoever
//! brings them says each time how all of them are to be; what follows from that is put in force with one swap.
//!
//! What an operator changed of one meanwhile (its weight, a drain) stays until its bringer says something new of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::build;
use super::command::{Answer, Outcome, Refusal};
use super::leaving::Leaving;
use super::running::Running;
use super::steering::check_fit;
use super::view;
use crate::config;
use crate::health::Order;
use crate::pool::{Admin, Backend, Member, Origin};
use crate::sys::Clock;
use crate::types::BackendId;

/// Who brings backends to a service while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Bringer {
    /// lb keeps their processes alive.
    Managed,
    /// They are found.
    Discovery,
}

impl Bringer {
    pub(super) const fn origin(self) -> Origin {
        match self {
            Self::Managed => Origin::Managed,
            Self::Discovery => Origin::Discovery,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provided {
    /// What changed, in words.
    pub changes: Vec<String>,
    /// Those that can't be had, each with its reason.
    pub refused: Vec<String>,
}

impl Running {
    /// From now on these are all backends that `bringer` brings to the service. Those that can't be had are left out, and said.
    ///
    /// # Errors
    /// The policy has no place for all of them; nothing was changed then.
    pub(super) fn provide(&mut self, place: usize, bringer: Bringer, wanted: &[config::Backend]) -> Outcome {
        let mut provided = Provided::default();
        let wanted = self.admissible(place, bringer, wanted, &mut provided);
        let (Some(service), Some(steering)) = (self.services.get(place), self.steering.get_mut(place)) else {
            return Err(Refusal::stopping());
        };
        let pool = service.balancer().pool().clone();
        let mut members = pool.members().to_vec();
        let said = steering.provided.get(&bringer).map_or(&[][..], Vec::as_slice);
        let (kept, leaving) = sort_out(&mut members, bringer.origin(), (said, &wanted), &mut provided.changes);
        let mut coming = Vec::new();
        let mut next_id = self.next_backend;
        let mut next_number = steering.next_number;
        for new in wanted.iter().filter(|backend| !kept.contains(&*backend.name)) {
            let mut member = build::member(
                new,
                &steering.settings,
                BackendId(next_id),
                next_number,
                self.workers_count,
            );
            next_id = next_id.saturating_add(1);
            next_number = next_number.saturating_add(1);
            member.origin = bringer.origin();
            member.ramp = steering.ramps.first();
            provided
                .changes
                .push(format!("backend {} added, {}", new.name, new.address));
            members.push(member.clone());
            coming.push(member);
        }
        if provided.changes.is_empty() {
            steering.provided.insert(bringer, wanted);
            return Ok(Answer::Provided(provided));
        }
        let pool = pool.with_members(members);
        check_fit(&steering.settings, &pool)?;
        let now = Clock::now();
        let deadline = now.plus(self.drain_timeout);
        for backend in leaving {
            steering.ramps.end(backend.id);
            self.prober_orders.give(Order::Forget(backend.id));
            steering.leaving.push(Leaving::new(backend, deadline));
        }
        for member in &coming {
            steering.ramps.begin(member.backend.id, now);
            if let Some(target) = build::target(&steering.settings, service.id, member) {
                self.prober_orders.give(Order::Watch(target));
            }
        }
        (self.next_backend, steering.next_number) = (next_id, next_number);
        steering.provided.insert(bringer, wanted);
        steering.put(service, pool);
        self.tell_provided(place, &provided, &coming);
        Ok(Answer::Provided(provided))
    }

    /// Those of `wanted` that may be backends of this service.
    fn admissible(
        &self,
        place: usize,
        bringer: Bringer,
        wanted: &[config::Backend],
        provided: &mut Provided,
    ) -> Vec<config::Backend> {
        let Some(service) = self.services.get(place) else {
            return Vec::new();
        };
        let balancer = service.balancer();
        let others = balancer.pool().members().iter();
        let others: HashMap<&str, Origin> = others
            .filter(|member| member.admin != Admin::Leaving && member.origin != bringer.origin())
            .map(|member| (&*member.backend.name, member.origin))
            .collect();
        let all = self
            .services
            .iter()
            .map(|service| service.balancer().pool().members().len());
        let own = balancer.pool().members().iter();
        let own = own.filter(|member| member.origin == bringer.origin()).count();
        let room = config::BACKENDS_MAX.saturating_sub(all.sum::<usize>().saturating_sub(own));
        let mut names = HashSet::new();
        let mut admissible = Vec::new();
        for backend in wanted {
            let name = &backend.name;
            let refused = if let Err(message) = config::check_name(name) {
                Some(message)
            } else if self.listens_at(backend.address) {
                Some(format!("{name}: lb itself listens on {}", backend.address))
            } else if others.contains_key(&**name) {
                Some(format!("{name}: another backend of the service has this name"))
            } else if !names.insert(name) {
                Some(format!("{name}: named twice"))
            } else if admissible.len() >= room {
                Some(format!(
                    "{name}: {} backends are the most that lb takes",
                    config::BACKENDS_MAX
                ))
            } else {
                None
            };
            match refused {
                Some(reason) => provided.refused.push(reason),
                None => admissible.push(backend.clone()),
            }
        }
        admissible
    }

    fn tell_provided(&self, place: usize, provided: &Provided, coming: &[Member]) {
        let Some(service) = self.services.get(place) else {
            return;
        };
        for change in &provided.changes {
            log::info!("{}: {change}", service.name);
        }
        for member in coming {
            let state = Some(view::state(member));
            self.board.tell_backend(service, &member.backend.name, state, "added");
        }
    }
}

/// Does to the members of an origin what was `said` before and is `wanted` now. The names of those that stay, and who leaves.
fn sort_out(
    members: &mut [Member],
    origin: Origin,
    (said, wanted): (&[config::Backend], &[config::Backend]),
    changes: &mut Vec<String>,
) -> (HashSet<Arc<str>>, Vec<Arc<Backend>>) {
    let by_name = |backends: &'_ [config::Backend]| -> HashMap<String, config::Backend> {
        let named = |backend: &config::Backend| (backend.name.clone(), backend.clone());
        backends.iter().map(named).collect()
    };
    let (said, wanted) = (by_name(said), by_name(wanted));
    let (mut kept, mut leaving) = (HashSet::new(), Vec::new());
    let is_brought = |member: &&mut Member| member.origin == origin && member.admin != Admin::Leaving;
    for member in members.iter_mut().filter(is_brought) {
        let name = Arc::clone(&member.backend.name);
        match wanted.get(&*name) {
            Some(is) if is.address == member.backend.address.0 => {
                changes.extend(update(member, said.get(&*name), is));
                kept.insert(name);
            }
            _ => {
                member.admin = Admin::Leaving;
                changes.push(format!("backend {name} removed, {}", member.backend.address));
                leaving.push(Arc::clone(&member.backend));
            }
        }
    }
    (kept, leaving)
}

/// What is said of a member otherwise than `before`, in words.
fn update(member: &mut Member, before: Option<&config::Backend>, is: &config::Backend) -> Vec<String> {
    let mut words = Vec::new();
    let name = &is.name;
    if before.is_none_or(|before| before.weight != is.weight) && member.weight != is.weight {
        words.push(format!(
            "backend {name}: weight {} instead of {}",
            is.weight, member.weight
        ));
        member.weight = is.weight;
    }
    if before.is_none_or(|before| before.backup != is.backup) && member.backup != is.backup {
        words.push(format!("backend {name}: backup = {}", is.backup));
        member.backup = is.backup;
    }
    member.metrics = is.metrics.clone().map(Arc::new);
    words
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::api;
    use crate::control::{self, Command, Inherited, RefusalKind};

    fn running() -> Running {
        let text = "[[service]]\nname = \"s\"\nlisten = \"127.0.0.1:0\"\n[service.health]\nkind = \"off\"\n\
                    [[service.backend]]\nname = \"own\"\naddress = \"127.0.0.1:1\"\n";
        control::start(&config::parse("f", text).unwrap(), Path::new("f"), Inherited::default()).unwrap()
    }

    fn backend(name: &str, port: u16, weight: u16) -> config::Backend {
        config::Backend {
            name: name.to_owned(),
            address: ([127, 0, 0, 1], port).into(),
            weight,
            connections_max: None,
            backup: false,
            metrics: None,
        }
    }

    fn provide(running: &mut Running, backends: &[config::Backend]) -> Provided {
        match running.provide(0, Bringer::Discovery, backends).unwrap() {
            Answer::Provided(provided) => provided,
            other => panic!("{other:?}"),
        }
    }

    /// Names and weights of those that are in use.
    fn members(running: &Running) -> Vec<(String, u16)> {
        let balancer = running.services[0].balancer();
        let members = balancer.pool().members().iter();
        members
            .filter(|member| member.admin == Admin::Active)
            .map(|member| (member.backend.name.to_string(), member.weight))
            .collect()
    }

    fn named(wanted: &[(&str, u16)]) -> Vec<(String, u16)> {
        wanted
            .iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight))
            .collect()
    }

    #[test]
    fn the_last_word_of_a_bringer_holds_and_nobody_else_is_touched() {
        let mut running = running();
        provide(&mut running, &[backend("a", 2, 1), backend("b", 3, 1)]);
        assert_eq!(members(&running), named(&[("own", 1), ("a", 1), ("b", 1)]));
        let said = provide(&mut running, &[backend("b", 3, 5), backend("c", 4, 1)]);
        assert_eq!(
            said.changes,
            [
                "backend a removed, 127.0.0.1:2",
                "backend b: weight 5 instead of 1",
                "backend c added, 127.0.0.1:4"
            ]
        );
        let again = provide(&mut running, &[backend("b", 3, 5), backend("c", 4, 1)]);
        assert_eq!(again, Provided::default());
        // The same name at another address is another backend.
        provide(&mut running, &[backend("b", 9, 5)]);
        assert_eq!(members(&running), named(&[("own", 1), ("b", 5)]));
        let balancer = running.services[0].balancer();
        assert_eq!(balancer.pool().named("b").unwrap().backend.address.0.port(), 9);
        running.stop();
    }

    #[test]
    fn what_an_operator_changed_stays_until_the_bringer_says_something_new() {
        let mut running = running();
        provide(&mut running, &[backend("a", 2, 1)]);
        let change = Command::Change {
            service: "s".to_owned(),
            backend: "a".to_owned(),
            change: api::BackendChange {
                weight: Some(api::Weight(7)),
                ..api::BackendChange::default()
            },
        };
        running.carry_out(&change).unwrap();
        assert_eq!(provide(&mut running, &[backend("a", 2, 1)]), Provided::default());
        assert_eq!(members(&running), named(&[("own", 1), ("a", 7)]));
        provide(&mut running, &[backend("a", 2, 3)]);
        assert_eq!(members(&running), named(&[("own", 1), ("a", 3)]));
        running.stop();
    }

    #[test]
    fn who_can_not_be_had_is_said_and_the_others_come() {
        let mut running = running();
        let own = running.sockets.of("s")[0].port();
        let wanted = [
            backend("own", 2, 1),
            backend("a b", 2, 1),
            backend("loop", own, 1),
            backend("good", 2, 1),
            backend("good", 3, 1),
        ];
        let said = provide(&mut running, &wanted);
        assert_eq!(said.refused.len(), 4, "{said:?}");
        assert_eq!(members(&running), named(&[("own", 1), ("good", 1)]));
        running.stop();
    }

    #[test]
    fn a_policy_without_a_place_for_all_keeps_what_it_had() {
        let text = "[[service]]\nname = \"s\"\nlisten = \"127.0.0.1:0\"\nbalance = \"ring\"\nhash = \"quadratic\"\nslots = 18\n\
                    [[service.backend]]\nname = \"own\"\naddress = \"127.0.0.1:1\"\n";
        let mut running =
            control::start(&config::parse("f", text).unwrap(), Path::new("f"), Inherited::default()).unwrap();
        let refusal = running
            .provide(0, Bringer::Managed, &[backend("a", 2, 1), backend("b", 3, 1)])
            .unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Limit);
        assert_eq!(members(&running), named(&[("own", 1)]));
        running.stop();
    }
}

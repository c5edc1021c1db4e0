//! What a new file makes of a service's pool: who stays, who changes, who comes, who goes. Nothing is put in force here.
//!
//! Only what the file says otherwise than before is changed: what came by the API since then (a backend, a weight, a removal) stays as
//! long as the file says nothing new about it.

use std::sync::Arc;

use super::build;
use crate::config;
use crate::pool::{Admin, Health, Member, Origin, Pool};
use crate::types::BackendId;

/// The pool to be, and what has to be done beside it.
pub(super) struct Difference {
    pub(super) pool: Pool,
    /// Those that go; they are members still, as leaving.
    pub(super) leaving: Vec<Member>,
    /// Those that come.
    pub(super) coming: Vec<Member>,
    /// What changes, in words.
    pub(super) words: Vec<String>,
}

/// Numbers for new backends.
pub(super) struct Numbers {
    /// Of the next in the process.
    pub(super) next_id: u32,
    /// Of the next in the service; see [`Member::number`].
    pub(super) next_number: u32,
    pub(super) workers: u16,
}

impl Numbers {
    pub(super) fn member(&mut self, backend: &config::Backend, settings: &config::Service) -> Member {
        let id = BackendId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        let member = build::member(backend, settings, id, self.next_number, self.workers);
        self.next_number = self.next_number.saturating_add(1);
        member
    }
}

impl Difference {
    /// From what the file said `before` and says `after`, and the pool as it is.
    pub(super) fn new(before: &config::Service, after: &config::Service, pool: &Pool, numbers: &mut Numbers) -> Self {
        let mut difference = Self {
            pool: Pool::default(),
            leaving: Vec::new(),
            coming: Vec::new(),
            words: Vec::new(),
        };
        let mut members: Vec<Member> = pool.members().to_vec();
        let mut replaced = Vec::new();
        for member in members.iter_mut().filter(|member| member.admin != Admin::Leaving) {
            let (was, is) = (entry(before, member), entry(after, member));
            match is {
                Some(is) if was == Some(is) => {}
                Some(is) if is.address != member.backend.address.0 => {
                    difference.leave(member);
                    replaced.push(is);
                }
                Some(is) => difference.update(member, was, is),
                None if member.origin == Origin::Config => difference.leave(member),
                None => {}
            }
            if before.health.check != config::Check::Off && after.health.check == config::Check::Off {
                member.health = Health::Up; // nobody would find it up again
            }
        }
        let is_new = |entry: &&config::Backend| {
            let has_member = pool.named(&entry.name).is_some();
            !has_member && !before.backends.contains(entry)
        };
        for entry in replaced.into_iter().chain(after.backends.iter().filter(is_new)) {
            let member = numbers.member(entry, after);
            difference
                .words
                .push(format!("backend {} added, {}", entry.name, entry.address));
            members.push(member.clone());
            difference.coming.push(member);
        }
        difference.pool = pool.with_members(members);
        difference
    }

    fn leave(&mut self, member: &mut Member) {
        member.admin = Admin::Leaving;
        self.words.push(format!(
            "backend {} removed, {}",
            member.backend.name, member.backend.address
        ));
        self.leaving.push(member.clone());
    }

    fn update(&mut self, member: &mut Member, was: Option<&config::Backend>, is: &config::Backend) {
        member.origin = Origin::Config;
        let name = &is.name;
        if was.is_none_or(|was| was.weight != is.weight) && member.weight != is.weight {
            self.words.push(format!(
                "backend {name}: weight {} instead of {}",
                is.weight, member.weight
            ));
            member.weight = is.weight;
        }
        if was.is_none_or(|was| was.backup != is.backup) && member.backup != is.backup {
            self.words.push(format!("backend {name}: backup = {}", is.backup));
            member.backup = is.backup;
        }
        if was.is_none_or(|was| was.connections_max != is.connections_max) {
            let max = is.connections_max.unwrap_or(0);
            self.words.push(format!("backend {name}: max_connections = {max}"));
        }
        if was.is_none_or(|was| was.metrics != is.metrics) {
            self.words.push(format!("backend {name}: metrics"));
            member.metrics = is.metrics.clone().map(Arc::new);
        }
    }

    /// Tells backends their limits.
    pub(super) fn apply_limits(&self, after: &config::Service) {
        let fall = build::fall(after);
        for member in self.pool.members() {
            let of_file = entry(after, member).map(|entry| entry.connections_max);
            member.backend.set_limits(of_file.unwrap_or(None), fall);
        }
    }
}

fn entry<'f>(file: &'f config::Service, member: &Member) -> Option<&'f config::Backend> {
    file.backends.iter().find(|entry| *entry.name == *member.backend.name)
}

/// The keys of two services that differ, but for listeners and backends.
pub(super) fn keys(before: &config::Service, after: &config::Service) -> Vec<String> {
    let mut words = Vec::new();
    if before.balance != after.balance {
        let (was, is) = (before.balance.name(), after.balance.name());
        words.push(if was == is {
            format!("balance = \"{is}\" with other settings")
        } else {
            format!("balance = \"{is}\" instead of \"{was}\"")
        });
    }
    let mut differs = |key: &str, differs: bool| {
        if differs {
            words.push(key.to_owned());
        }
    };
    differs("hash_key", before.hash_key != after.hash_key);
    differs("[service.sticky]", before.sticky != after.sticky);
    differs(
        "[service.proxy_protocol]",
        before.proxy_protocol != after.proxy_protocol,
    );
    differs("max_connections", before.connections_max != after.connections_max);
    differs("connect_timeout", before.connect_timeout != after.connect_timeout);
    differs("connect_retries", before.connect_retries != after.connect_retries);
    differs("hedge_after", before.hedge_after != after.hedge_after);
    differs("idle_timeout", before.idle_timeout != after.idle_timeout);
    differs(
        "half_close_timeout",
        before.half_close_timeout != after.half_close_timeout,
    );
    differs("peer_timeout", before.peer_timeout != after.peer_timeout);
    differs("[service.access]", before.access != after.access);
    differs("[service.limits]", before.limits != after.limits);
    differs("[service.health]", before.health != after.health);
    differs("[service.discovery]", before.discovery != after.discovery);
    differs("[service.managed]", before.managed != after.managed);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(backends: &str) -> config::Service {
        let entries: String = backends
            .split_whitespace()
            .map(|entry| {
                let mut parts = entry.split(':');
                let (name, port, weight) = (
                    parts.next().unwrap(),
                    parts.next().unwrap(),
                    parts.next().unwrap_or("1"),
                );
                format!("[[service.backend]]\nname = \"{name}\"\naddress = \"10.0.0.1:{port}\"\nweight = {weight}\n")
            })
            .collect();
        let text = format!("[[service]]\nname = \"s\"\nlisten = \"127.0.0.1:0\"\n{entries}");
        config::parse("f", &text).unwrap().services.remove(0)
    }

    fn numbers() -> Numbers {
        Numbers {
            next_id: 100,
            next_number: 100,
            workers: 1,
        }
    }

    fn pool(file: &config::Service) -> Pool {
        let mut numbers = numbers();
        Pool::new(file.backends.iter().map(|entry| numbers.member(entry, file)).collect())
    }

    /// The members that stay, as `name:port:weight`, and the words.
    fn after(before: &config::Service, then: &str, pool: &Pool) -> (String, Vec<String>) {
        let difference = Difference::new(before, &service(then), pool, &mut numbers());
        let members = difference
            .pool
            .members()
            .iter()
            .filter(|member| member.admin != Admin::Leaving);
        let members: Vec<String> = members
            .map(|member| {
                format!(
                    "{}:{}:{}",
                    member.backend.name,
                    member.backend.address.0.port(),
                    member.weight
                )
            })
            .collect();
        (members.join(" "), difference.words)
    }

    fn with_api(pool: &Pool, entry: &str) -> Pool {
        let file = service(entry);
        let mut member = numbers().member(&file.backends[0], &file);
        member.origin = Origin::Api;
        pool.with(member)
    }

    fn without(pool: &Pool, name: &str) -> Pool {
        let backend = &pool.named(name).unwrap().backend;
        pool.without(&[(backend.id, backend.totals())].into())
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let file = service("a:1 b:2:3");
        let (members, words) = after(&file, "a:1 b:2:3", &pool(&file));
        assert_eq!((members.as_str(), words.len()), ("a:1:1 b:2:3", 0));
    }

    #[test]
    fn who_comes_goes_moves_or_weighs_otherwise_is_told() {
        let file = service("a:1 b:2 c:3 d:4");
        let (members, words) = after(&file, "a:1:5 c:33 d:4 e:5", &pool(&file));
        assert_eq!(members, "a:1:5 d:4:1 c:33:1 e:5:1");
        assert_eq!(
            words,
            [
                "backend a: weight 5 instead of 1",
                "backend b removed, 10.0.0.1:2",
                "backend c removed, 10.0.0.1:3",
                "backend c added, 10.0.0.1:33",
                "backend e added, 10.0.0.1:5",
            ]
        );
    }

    #[test]
    fn what_the_api_did_stays_unless_the_file_says_something_new_of_it() {
        let file = service("a:1 b:2");
        // The API gave b another weight, removed a, and added x.
        let pool = pool(&file).changed(|member| member.weight = 7).unwrap();
        let pool = with_api(&without(&pool, "a"), "x:9");
        assert_eq!(after(&file, "a:1 b:2", &pool).0, "b:2:7 x:9:1");
        assert_eq!(
            after(&file, "a:1 b:2:3", &pool).0,
            "b:2:3 x:9:1",
            "the file has a weight for b now"
        );
        assert_eq!(
            after(&file, "a:1:2 b:2", &pool).0,
            "b:2:7 x:9:1 a:1:2",
            "and something new of a"
        );
        assert_eq!(
            after(&file, "a:1 b:2 x:9:4", &pool).0,
            "b:2:7 x:9:4",
            "x is the file's now"
        );
        assert_eq!(after(&file, "a:1 b:2 x:8", &pool).0, "b:2:7 x:8:1", "and elsewhere");
        assert_eq!(after(&file, "a:1", &pool).0, "x:9:1");
    }
}

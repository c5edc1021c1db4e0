//! What must hold of every answer and every order of answers.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn listed(name: Option<&str>, address: &str) -> Listed {
    Listed {
        name: name.map(ToOwned::to_owned),
        address: address.parse().unwrap(),
        weight: 1,
        backup: false,
    }
}

fn rules(allow: Option<&[&str]>) -> Rules {
    Rules {
        backends_min: 1,
        backends_max: 100,
        allow: allow.map(|networks| networks.iter().map(|network| network.parse().unwrap()).collect()),
    }
}

fn is_taken(rules: &Rules, address: &str) -> bool {
    rules.judge(&[listed(None, address)]).is_ok()
}

#[test]
fn without_allow_all_but_this_machine_is_taken() {
    let rules = rules(None);
    for good in ["10.0.0.1:1", "8.8.8.8:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"] {
        assert!(is_taken(&rules, good), "{good}");
    }
    for bad in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(!is_taken(&rules, bad), "{bad}");
    }
}

#[test]
fn some_addresses_are_never_taken_whatever_is_allowed() {
    let all = rules(Some(&["0.0.0.0/0", "::/0", "169.254.0.0/16", "127.0.0.0/8"]));
    for bad in [
        "169.254.169.254:80",
        "[::ffff:169.254.169.254]:80",
        "[fe80::1]:80",
        "224.0.0.1:80",
        "[ff02::1]:80",
        "0.0.0.0:80",
        "0.1.2.3:80",
        "[::]:80",
        "255.255.255.255:80",
        "10.0.0.1:0",
    ] {
        assert!(!is_taken(&all, bad), "{bad}");
    }
    assert!(is_taken(&all, "10.0.0.1:80") && is_taken(&all, "127.0.0.1:80"));
}

#[test]
fn loopback_is_taken_only_where_a_network_of_loopback_is_allowed() {
    assert!(!is_taken(&rules(Some(&["0.0.0.0/0", "::/0"])), "127.0.0.1:1"));
    assert!(!is_taken(&rules(Some(&["0.0.0.0/0", "::/0"])), "[::1]:1"));
    assert!(is_taken(&rules(Some(&["127.0.0.0/8"])), "127.0.0.1:1"));
    assert!(is_taken(&rules(Some(&["::1/128"])), "[::1]:1"));
    assert!(!is_taken(&rules(Some(&["10.0.0.0/8"])), "11.0.0.1:1"));
}

#[test]
fn one_bad_entry_refuses_all_and_is_named() {
    let said = rules(None).judge(&[
        listed(Some("a"), "10.0.0.1:1"),
        listed(Some("meta"), "169.254.169.254:80"),
    ]);
    let said = said.unwrap_err();
    assert!(
        said.starts_with("entry 2, \"meta\": 169.254.169.254:80 is link-local"),
        "{said}"
    );
    let twice = rules(None).judge(&[listed(Some("a"), "10.0.0.1:1"), listed(Some("a"), "10.0.0.2:1")]);
    assert_eq!(twice.unwrap_err(), "entry 2, \"a\": 10.0.0.1:1 has this name too");
    let name = rules(None).judge(&[listed(Some("a b"), "10.0.0.1:1")]).unwrap_err();
    assert!(name.contains("wanted a name"), "{name}");
}

#[test]
fn too_few_too_many_and_none_are_not_followed() {
    let rules = Rules {
        backends_min: 2,
        backends_max: 3,
        allow: None,
    };
    let answer = |count: u8| -> Vec<Listed> {
        (0..count)
            .map(|number| listed(None, &format!("10.0.0.{number}:1")))
            .collect()
    };
    assert_eq!(rules.judge(&[]).unwrap_err(), "no backend found");
    assert_eq!(
        rules.judge(&answer(1)).unwrap_err(),
        "1 backends found, at least 2 are wanted (min_backends)"
    );
    assert!(rules.judge(&answer(2)).is_ok() && rules.judge(&answer(3)).is_ok());
    assert_eq!(
        rules.judge(&answer(4)).unwrap_err(),
        "4 backends found, at most 3 are wanted (max_backends)"
    );
    // Twice the same is one, and one is too few.
    assert!(
        rules
            .judge(&[listed(None, "10.0.0.1:1"), listed(None, "10.0.0.1:1")])
            .is_err()
    );
}

#[test]
fn a_failure_after_another_waits_twice_as_long_up_to_a_bound() {
    let bounds = (Duration::from_secs(1), Duration::from_secs(30));
    let waits = [1, 2, 3, 6, 7, 100].map(|failures| back_off(failures, bounds).as_secs());
    assert_eq!(waits, [1, 2, 4, 30, 30, 30]);
}

fn at(millis: u64) -> Moment {
    Moment::START.plus(Duration::from_millis(millis))
}

#[test]
fn a_single_change_goes_out_at_once_and_what_is_withdrawn_never() {
    let mut pace = Pace::new(Duration::from_millis(500));
    assert!(pace.offer(1) && !pace.offer(1));
    assert_eq!((pace.take(at(10)), pace.due()), (Some(1), None));
    assert!(pace.offer(2));
    assert_eq!((pace.take(at(20)), pace.due()), (None, Some(at(510))));
    assert!(pace.offer(1), "it is back to what holds");
    assert_eq!((pace.take(at(600)), pace.due()), (None, None));
    pace.offer(3);
    assert_eq!(pace.take(at(600)), Some(3));
    pace.again();
    assert_eq!(pace.take(at(2000)), Some(3));
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    // Few bits, so that long runs of zeros are there to be shortened.
    let v6 = any::<[u8; 8]>().prop_map(|parts| IpAddr::from(parts.map(|part| u16::from(part % 3))));
    (prop_oneof![v4, v6], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

proptest! {
    #[test]
    fn names_of_addresses_are_allowed_and_differ(all in proptest::collection::hash_set(addresses(), 0..200)) {
        let names: HashSet<String> = all.iter().map(|address| name_of(*address)).collect();
        prop_assert_eq!(names.len(), all.len());
        for name in names {
            prop_assert_eq!(config::check_name(&name), Ok(()));
        }
    }

    /// Whatever comes when: never more than one a gap, and the newest holds in the end.
    #[test]
    fn pace_is_kept_and_the_newest_wins(offers in proptest::collection::vec((0_u64..300, 0_u8..4), 1..100)) {
        let gap = 500;
        let mut pace = Pace::new(Duration::from_millis(gap));
        let (mut now, mut went): (u64, Vec<(u64, u8)>) = (0, Vec::new());
        for (wait, value) in &offers {
            let then = now + wait;
            if let Some(due) = pace.due().map(|due| due.since(Moment::START).as_millis() as u64)
                && due <= then
            {
                let late = due.max(now);
                went.extend(pace.take(at(late)).map(|value| (late, value)));
            }
            now = then;
            pace.offer(*value);
            went.extend(pace.take(at(now)).map(|value| (now, value)));
        }
        let last = offers.last().map(|(_, value)| *value);
        prop_assert_eq!(pace.newest().copied(), last);
        now += gap;
        went.extend(pace.take(at(now)).map(|value| (now, value)));
        prop_assert_eq!(went.last().map(|(_, value)| *value), last);
        prop_assert_eq!(pace.due(), None);
        for pair in went.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= gap, "{went:?}");
            prop_assert!(pair[1].1 != pair[0].1, "nothing new went out: {went:?}");
        }
    }

    /// In which order an answer tells its backends changes nothing.
    #[test]
    fn the_order_of_an_answer_is_nothing(all in proptest::collection::hash_set(addresses(), 1..50), turn in 0_usize..50) {
        let answer: Vec<Listed> = all
            .iter()
            .map(|address| Listed { name: None, address: *address, weight: 1, backup: false })
            .collect();
        let mut turned = answer.clone();
        turned.rotate_left(turn % answer.len());
        prop_assert_eq!(rules(None).judge(&answer).ok(), rules(None).judge(&turned).ok());
    }

    /// Whoever is taken keeps to the bounds, and to `allow`.
    #[test]
    fn what_is_followed_is_within_the_rules(all in proptest::collection::vec(addresses(), 0..8), least in 1_usize..4, most in 1_usize..6) {
        let rules = Rules { backends_min: least, backends_max: most, allow: None };
        let answer: Vec<Listed> = all
            .iter()
            .map(|address| Listed { name: None, address: *address, weight: 1, backup: false })
            .collect();
        if let Ok(backends) = rules.judge(&answer) {
            prop_assert!((least..=most).contains(&backends.len()));
            for backend in backends {
                let ip = backend.address.ip();
                prop_assert!(!ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified());
            }
        }
    }

    #[test]
    fn srv_weights_keep_their_proportions_and_nobody_has_none(weights in proptest::collection::vec(any::<u16>(), 0..20)) {
        let scaled = scaled(&weights);
        prop_assert_eq!(scaled.len(), weights.len());
        for (was, is) in weights.iter().zip(&scaled) {
            prop_assert!((1..=config::WEIGHT_MAX).contains(is));
            for (other, other_is) in weights.iter().zip(&scaled) {
                prop_assert!(was > other || is <= other_is);
            }
        }
    }
}

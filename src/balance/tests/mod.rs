//! What holds for every policy: it ends, it takes only what may be taken, and it keeps to the weights. What each promises of its
//! own is in the files beside.

mod hashing;
mod random;
mod rounds;
mod turns;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::pool::{Admin, Backend, Health, Ramp};
use crate::types::{BackendAddr, Moment};

fn member(id: u32, weight: u16, max: Option<u32>) -> Member {
    let address = BackendAddr("127.0.0.1:1".parse().unwrap());
    let backend = Arc::new(Backend::new(BackendId(id), &format!("b{id}"), address, max, 3, 1));
    Member::new(backend, id.saturating_add(1), weight)
}

fn members(weights: &[u16]) -> Vec<Member> {
    (0..)
        .zip(weights)
        .map(|(id, weight)| member(id, *weight, None))
        .collect()
}

fn pool(weights: &[u16]) -> Pool {
    Pool::new(members(weights))
}

/// The pick of this turn, as a service makes it: with new dice, for a new client.
fn key(turn: u64) -> Key {
    Key {
        turn,
        dice: dice(1, turn),
        id: dice(2, turn),
        sessions: u32::MAX,
        now: Moment::START,
    }
}

fn picks(balancer: &Balancer, turns: std::ops::Range<u64>) -> Vec<u32> {
    turns
        .map(|turn| balancer.pick(key(turn), &[]).unwrap().backend().id.0)
        .collect()
}

/// How often each of `count` backends is among the picks.
fn tally(picks: &[u32], count: usize) -> Vec<u32> {
    (0..count)
        .map(|id| u32::try_from(picks.iter().filter(|pick| **pick as usize == id).count()).unwrap())
        .collect()
}

/// Whether a spread as far from the expected one, or farther, would come by chance less than once in a thousand times (Pearson's
/// chi-square; the limit by Wilson and Hilferty, 1931).
fn is_uneven(observed: &[u32], expected: &[f64]) -> bool {
    let distance = |(observed, expected): (&u32, &f64)| (f64::from(*observed) - expected).powi(2) / expected;
    let chi_square: f64 = observed.iter().zip(expected).map(distance).sum();
    let ninths = 2.0 / (9.0 * (observed.len() - 1) as f64);
    let limit = (observed.len() - 1) as f64 * (1.0 - ninths + 3.09 * ninths.sqrt()).powi(3);
    chi_square > limit
}

/// Every policy with small wheels, so that thousands can be made.
fn small() -> [PolicyName; 10] {
    PolicyName::all(5).map(|policy| match policy {
        PolicyName::Ring { bound, .. } => PolicyName::Ring {
            virtual_nodes: 3,
            bound,
        },
        PolicyName::Maglev { bound, .. } => PolicyName::Maglev { slots: 251, bound },
        other => other,
    })
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    weight: u16,
    is_up: bool,
    is_draining: bool,
    is_backup: bool,
    is_full: bool,
    is_excluded: bool,
}

const FINE: Shape = Shape {
    weight: 1,
    is_up: true,
    is_draining: false,
    is_backup: false,
    is_full: false,
    is_excluded: false,
};

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let shape = (prop_oneof![Just(0_u16), 1..=256_u16], any::<[bool; 5]>()).prop_map(|(weight, flags)| Shape {
        weight,
        is_up: flags[0],
        is_draining: flags[1],
        is_backup: flags[2],
        is_full: flags[3],
        is_excluded: flags[4],
    });
    prop::collection::vec(shape, 0..12)
}

/// Every policy, on a pool of these: it chooses somebody who may be chosen, and nobody only if there is none.
fn check_every_policy(shapes: &[Shape], turns: std::ops::Range<u64>, sessions: u32) {
    let members: Vec<Member> = (0..)
        .zip(shapes)
        .map(|(id, shape)| Member {
            backup: shape.is_backup,
            health: if shape.is_up { Health::Up } else { Health::Down },
            admin: if shape.is_draining {
                Admin::Draining
            } else {
                Admin::Active
            },
            ..member(id, shape.weight, shape.is_full.then_some(1))
        })
        .collect();
    let ids = |is: fn(&Shape) -> bool| members.iter().zip(shapes).filter(move |(_, shape)| is(shape));
    let full: Vec<BackendGuard> = ids(|shape| shape.is_full)
        .map(|(member, _)| BackendGuard::take(&member.backend).unwrap())
        .collect();
    let excluded: Vec<BackendId> = ids(|shape| shape.is_excluded)
        .map(|(member, _)| member.backend.id)
        .collect();
    let eligible =
        |shape: &Shape, backup| shape.weight > 0 && shape.is_up && !shape.is_draining && shape.is_backup == backup;
    let backup = !shapes.iter().any(|shape| eligible(shape, false));
    let allowed: Vec<u32> = (0..)
        .zip(shapes)
        .filter(|(_, shape)| eligible(shape, backup) && !shape.is_full && !shape.is_excluded)
        .map(|(id, _)| id)
        .collect();
    for policy in small() {
        let balancer = Balancer::new(Pool::new(members.clone()), policy);
        for turn in turns.clone() {
            let key = Key { sessions, ..key(turn) };
            match balancer.pick(key, &excluded).map(|guard| guard.backend().id.0) {
                None => assert!(allowed.is_empty(), "{policy:?} chose nobody of {allowed:?}: {shapes:?}"),
                Some(id) => assert!(
                    allowed.contains(&id),
                    "{policy:?} chose {id}, not of {allowed:?}: {shapes:?}"
                ),
            }
        }
    }
    drop(full);
}

#[test]
fn every_policy_ends_for_every_mixture_of_up_down_full_weightless_draining_and_excluded() {
    let states = [
        FINE,
        Shape { is_up: false, ..FINE },
        Shape { is_full: true, ..FINE },
        Shape { weight: 0, ..FINE },
        Shape {
            is_draining: true,
            ..FINE
        },
        Shape {
            is_excluded: true,
            ..FINE
        },
    ];
    // Every one of the 6^5 mixtures of five: with 10 policies and 16 picks, 1.2 million picks.
    for mixture in 0..6_usize.pow(5) {
        let shapes: Vec<Shape> = (0..5_u32)
            .map(|place| states[mixture / 6_usize.pow(place) % 6])
            .collect();
        check_every_policy(&shapes, 0..16, 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn every_policy_ends_and_takes_only_what_may_be_taken(shapes in shapes(), turn in 0..u64::MAX / 2, sessions: u32) {
        check_every_policy(&shapes, turn..turn + 20, sessions);
    }
}

/// Each policy as it is configured, and how many keys tell its shares.
fn weighted() -> impl Iterator<Item = PolicyName> {
    // A quadratic ring has no weights; a bound has its own test.
    PolicyName::all(5).into_iter().filter(|policy| {
        !matches!(
            policy,
            PolicyName::QuadraticRing { .. }
                | PolicyName::Ring { bound: Some(_), .. }
                | PolicyName::Maglev { bound: Some(_), .. }
        )
    })
}

#[test]
fn every_policy_keeps_to_the_weights_within_two_percent() {
    for policy in weighted() {
        for weights in [&[1, 1, 1][..], &[1, 2, 3, 4], &[256, 64, 128, 64, 200], &[7; 10]] {
            let total: u16 = weights.iter().sum();
            let balancer = Balancer::new(pool(weights), policy);
            // Held, since what goes by sessions needs them: 40 for each unit of weight, at least 20,000.
            let count = (u64::from(total) * 40).max(20_000) / u64::from(total) * u64::from(total);
            let held: Vec<BackendGuard> = (0..count).map(|turn| balancer.pick(key(turn), &[]).unwrap()).collect();
            for (member, weight) in balancer.pool().members().iter().zip(weights) {
                let share = f64::from(member.backend.active()) / held.len() as f64;
                let wanted = f64::from(*weight) / f64::from(total);
                assert!(
                    (share - wanted).abs() < 0.02,
                    "{policy:?}, {weights:?}: {share} instead of {wanted}"
                );
            }
        }
    }
}

#[test]
fn in_slow_start_every_policy_gives_a_tenth_of_the_weight() {
    let first = Ramp::after(std::time::Duration::ZERO, std::time::Duration::from_secs(1));
    for policy in weighted() {
        let mut members = members(&[1, 1]);
        members[1].ramp = first;
        let balancer = Balancer::new(Pool::new(members), policy);
        let held: Vec<BackendGuard> = (0..11_000).map(|turn| balancer.pick(key(turn), &[]).unwrap()).collect();
        let share = f64::from(balancer.pool().members()[1].backend.active()) / held.len() as f64;
        assert!((share - 1.0 / 11.0).abs() < 0.02, "{policy:?}: {share} instead of 1/11");
    }
}

#[test]
fn every_policy_that_draws_or_hashes_evenly_spreads_as_chance_would() {
    let maglev = PolicyName::Maglev {
        slots: 65_537,
        bound: None,
    };
    for policy in [PolicyName::RandomTwo, PolicyName::Fastest, maglev] {
        for weights in [&[1; 10][..], &[1, 2, 3, 4, 5]] {
            if policy == PolicyName::RandomTwo && weights != [1; 10] {
                continue; // of two idle ones it takes the one with the greater weight
            }
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let picks = picks(&Balancer::new(pool(weights), policy), 0..30_000);
            let expected: Vec<f64> = weights
                .iter()
                .map(|weight| 30_000.0 * f64::from(*weight) / total)
                .collect();
            let observed = tally(&picks, weights.len());
            assert!(
                !is_uneven(&observed, &expected),
                "{policy:?}: {observed:?} instead of {expected:?}"
            );
        }
    }
}

#[test]
fn what_full_backends_cannot_take_is_shared_by_weight_among_the_others() {
    let weights = [
        &[1; 10][..],
        &[5, 4, 3, 2, 1, 1, 2, 3, 4, 5],
        &[7, 1, 200, 1, 1, 9, 2, 256, 100, 90],
    ];
    for policy in [PolicyName::RoundRobin, PolicyName::RandomTwo, PolicyName::Fastest] {
        // Of two idle ones the second takes the one with the greater weight.
        let unequal = if policy == PolicyName::RandomTwo { 0 } else { 2 };
        let weights = weights.into_iter().take(1 + unequal);
        for (weights, is_full) in weights.flat_map(|weights| {
            let halves: [fn(u32) -> bool; 3] = [|id| id < 5, |id| id >= 5, |id| id % 2 == 0];
            halves.map(|is_full| (weights, is_full))
        }) {
            let members = (0..).zip(weights);
            let members: Vec<Member> = members
                .map(|(id, weight)| member(id, *weight, is_full(id).then_some(1)))
                .collect();
            let full = members.iter().filter(|member| is_full(member.backend.id.0));
            let _held: Vec<BackendGuard> = full
                .map(|member| BackendGuard::take(&member.backend).unwrap())
                .collect();
            let balancer = Balancer::new(Pool::new(members), policy);
            let counts = tally(&picks(&balancer, 0..60_000), weights.len());
            let free = || (0_u32..).zip(weights).filter(|(id, _)| !is_full(*id));
            let total: u16 = free().map(|(_, weight)| weight).sum();
            for (id, weight) in free() {
                let share = f64::from(counts[id as usize]) / 60_000.0;
                let wanted = f64::from(*weight) / f64::from(total);
                let is_near = (share - wanted).abs() < 0.01;
                assert!(is_near, "{policy:?}, {weights:?}: {id} has {share} instead of {wanted}");
            }
        }
    }
}

#[test]
fn the_measure_of_evenness_tells_fair_from_loaded_dice() {
    let expected = [100.0; 6];
    assert!(!is_uneven(&[95, 108, 92, 103, 99, 103], &expected));
    assert!(is_uneven(&[70, 130, 85, 115, 90, 110], &expected));
}

//! Round robin and least connections: exact orders and exact counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;

/// The published algorithm, step by step: everyone gains its weight, the richest pays the sum.
fn smooth_reference(weights: &[u16], steps: usize) -> Vec<u32> {
    let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut wealth = vec![0_i64; weights.len()];
    (0..steps)
        .map(|_| {
            for (wealth, weight) in wealth.iter_mut().zip(weights) {
                *wealth += i64::from(*weight);
            }
            let richest = (0..wealth.len())
                .max_by_key(|place| (wealth[*place], std::cmp::Reverse(*place)))
                .unwrap();
            wealth[richest] -= total;
            u32::try_from(richest).unwrap()
        })
        .collect()
}

#[test]
fn weights_5_1_1_come_in_the_smooth_order() {
    let balancer = Balancer::new(pool(&[5, 1, 1]), PolicyName::RoundRobin);
    assert_eq!(picks(&balancer, 0..14), [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn eight_threads_together_keep_the_exact_shares() {
    let balancer = Balancer::new(pool(&[5, 1, 1]), PolicyName::RoundRobin);
    let turn = AtomicU64::new(0);
    let mut order: Vec<(u64, u32)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..700)
                        .map(|_| {
                            let turn = turn.fetch_add(1, Relaxed);
                            (turn, balancer.pick(key(turn), &[]).unwrap().backend().id.0)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    order.sort_unstable();
    let ids: Vec<u32> = order.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, smooth_reference(&[5, 1, 1], 5600));
}

#[test]
fn least_connections_is_exact_while_threads_pick_at_once() {
    let balancer = Balancer::new(pool(&[3, 2, 1]), PolicyName::LeastConnections);
    let turn = AtomicU64::new(0);
    let guards: Vec<BackendGuard> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..750)
                        .map(|_| balancer.pick(key(turn.fetch_add(1, Relaxed)), &[]).unwrap())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let active: Vec<u32> = balancer
        .pool()
        .members()
        .iter()
        .map(|member| member.backend.active())
        .collect();
    assert_eq!(active, [3000, 2000, 1000]);
    drop(guards);
    assert!(
        balancer
            .pool()
            .members()
            .iter()
            .all(|member| member.backend.active() == 0)
    );
}

#[test]
fn least_connections_ties_rotate() {
    let balancer = Balancer::new(pool(&[1, 1, 1]), PolicyName::LeastConnections);
    assert_eq!(picks(&balancer, 0..6), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn least_connections_never_takes_the_busiest() {
    let balancer = Balancer::new(pool(&[1, 1, 1]), PolicyName::LeastConnections);
    let busy: Vec<BackendGuard> = (0..5)
        .map(|_| BackendGuard::take(&balancer.pool().members()[1].backend).unwrap())
        .collect();
    assert!(!picks(&balancer, 0..100).contains(&1));
    drop(busy);
    assert!(picks(&balancer, 0..3).contains(&1));
}

#[test]
fn of_idle_backends_the_one_with_the_greatest_weight_is_taken() {
    for policy in [PolicyName::LeastConnections, PolicyName::RandomTwo] {
        let balancer = Balancer::new(pool(&[1, 4]), policy);
        assert!(!picks(&balancer, 0..100).contains(&0), "{policy:?}");
        // A fourth there is worth as much as the first here; with four there, the first here is better.
        let held: Vec<BackendGuard> = (0..3).map(|turn| balancer.pick(key(turn), &[]).unwrap()).collect();
        assert!(
            held.iter().all(|guard| guard.backend().id == BackendId(1)),
            "{policy:?}"
        );
        let _fourth = BackendGuard::take(&balancer.pool().members()[1].backend).unwrap();
        assert!(!picks(&balancer, 0..100).contains(&1), "{policy:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn round_robin_is_the_published_order_for_any_weights(weights in prop::collection::vec(1..=256_u16, 1..10)) {
        let balancer = Balancer::new(pool(&weights), PolicyName::RoundRobin);
        let round: u16 = weights.iter().sum();
        let order = picks(&balancer, 0..u64::from(round));
        prop_assert_eq!(&order, &smooth_reference(&weights, usize::from(round)));
        let mut counts = HashMap::new();
        for id in order {
            *counts.entry(id).or_insert(0_u16) += 1;
        }
        for (id, weight) in (0..).zip(&weights) {
            prop_assert_eq!(counts.get(&id), Some(weight));
        }
    }
    #[test]
    fn least_connections_takes_the_first_of_the_smallest_from_its_turn_on(
        // Weight, sessions, whether that is all it may have, whether it is excluded.
        shapes in prop::collection::vec((1..=4_u16, 0..8_u32, any::<bool>(), prop::bool::weighted(0.1)), 1..12),
        turn: u64,
    ) {
        let members: Vec<Member> = (0..).zip(&shapes).map(|(id, (weight, active, is_full, _))| {
            member(id, *weight, is_full.then_some(*active))
        }).collect();
        let held: Vec<BackendGuard> = members.iter().zip(&shapes).flat_map(|(member, (_, active, ..))| {
            (0..*active).map(|_| BackendGuard::take(&member.backend).unwrap())
        }).collect();
        let excluded: Vec<BackendId> = members.iter().zip(&shapes).filter(|(_, (.., is_excluded))| *is_excluded)
            .map(|(member, _)| member.backend.id).collect();
        let first = usize::try_from(turn % shapes.len() as u64).unwrap();
        let expected = (first..).take(shapes.len()).map(|place| place % shapes.len())
            .filter(|place| !shapes[*place].2 && !shapes[*place].3)
            // 12 is a multiple of each weight; of equals min_by_key takes the first
            .min_by_key(|place| (shapes[*place].1 + 1) * (12 / u32::from(shapes[*place].0)));
        let balancer = Balancer::new(Pool::new(members), PolicyName::LeastConnections);
        let picked = balancer.pick(key(turn), &excluded).map(|guard| guard.backend().id);
        prop_assert_eq!(picked, expected.map(|place| BackendId(u32::try_from(place).unwrap())));
        drop(held);
    }
}

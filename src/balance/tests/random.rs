//! What draws two: how even it is, and how it finds the fast ones.

use std::time::Duration;

use super::*;

const MILLI: Duration = Duration::from_millis(1);

fn at(seconds: u64) -> Moment {
    Moment::START.plus(Duration::from_secs(seconds))
}

/// How often each is picked in 10,000 turns, with nobody held.
fn shares(balancer: &Balancer, now: Moment) -> Vec<u32> {
    let picks: Vec<u32> = (0..10_000)
        .map(|turn| {
            let key = Key { now, ..key(turn) };
            balancer.pick(key, &[]).unwrap().backend().id.0
        })
        .collect();
    tally(&picks, balancer.pool().members().len())
}

#[test]
fn two_choices_keep_the_fullest_within_a_few_sessions_of_the_mean() {
    let balancer = Balancer::new(pool(&[1; 100]), PolicyName::RandomTwo);
    let held: Vec<BackendGuard> = (0..10_000).map(|turn| balancer.pick(key(turn), &[]).unwrap()).collect();
    let most = balancer
        .pool()
        .members()
        .iter()
        .map(|member| member.backend.active())
        .max()
        .unwrap();
    // One random choice would have about 125; log log n is small (Mitzenmacher 2001).
    assert!((100..=104).contains(&most), "{most} of {} on one of 100", held.len());
}

#[test]
fn the_busier_of_two_is_never_taken() {
    for policy in [PolicyName::RandomTwo, PolicyName::Fastest] {
        let balancer = Balancer::new(pool(&[1, 1]), policy);
        let members = balancer.pool().members();
        for member in members {
            member.backend.latency.note(Moment::START, MILLI);
        }
        let _busy = BackendGuard::take(&members[0].backend).unwrap();
        assert!(!picks(&balancer, 0..1_000).contains(&0), "{policy:?}");
    }
}

#[test]
fn what_a_backend_costs_is_its_time_times_its_sessions_and_one_more_by_its_share() {
    // Weights, milliseconds; on the first are two sessions already, and yet it is the cheaper one.
    for (weights, took) in [([4, 1], [5, 5]), ([1, 1], [1, 10])] {
        let balancer = Balancer::new(pool(&weights), PolicyName::Fastest);
        let members = balancer.pool().members();
        for (member, took) in members.iter().zip(took) {
            member.backend.latency.note(Moment::START, took * MILLI);
        }
        let _two = [(); 2].map(|()| BackendGuard::take(&members[0].backend).unwrap());
        assert!(!picks(&balancer, 0..1_000).contains(&1), "{weights:?} {took:?}");
    }
}

#[test]
fn a_slow_backend_gets_nothing_until_its_slowness_has_faded() {
    let balancer = Balancer::new(pool(&[1; 4]), PolicyName::Fastest);
    for (member, took) in balancer.pool().members().iter().zip([1, 1, 1, 20]) {
        member.backend.latency.note(at(0), took * MILLI);
    }
    assert_eq!(shares(&balancer, at(1))[3], 0);
    // The others go on as before; what was 20 times as slow is as good as they after 10 s x ln 20.
    for member in &balancer.pool().members()[..3] {
        member.backend.latency.note(at(29), MILLI);
        member.backend.latency.note(at(31), MILLI);
    }
    assert_eq!(shares(&balancer, at(29))[3], 0);
    assert!(shares(&balancer, at(31))[3] > 2_000, "it is tried again");
}

#[test]
fn a_new_backend_is_explored_by_one_session_at_a_time() {
    let balancer = Balancer::new(pool(&[1; 4]), PolicyName::Fastest);
    let members = balancer.pool().members();
    for member in &members[..3] {
        member.backend.latency.note(at(0), MILLI);
    }
    let held: Vec<BackendGuard> = (0..1_000).map(|turn| balancer.pick(key(turn), &[]).unwrap()).collect();
    assert_eq!(members[3].backend.active(), 1, "of {}", held.len());
    members[3].backend.latency.note(at(0), MILLI);
    let more: Vec<BackendGuard> = (1_000..2_000)
        .map(|turn| balancer.pick(key(turn), &[]).unwrap())
        .collect();
    assert!(members[3].backend.active() > 300, "of {}", more.len());
}

#[test]
fn where_all_are_new_none_gets_all() {
    let balancer = Balancer::new(pool(&[1; 4]), PolicyName::Fastest);
    let held: Vec<BackendGuard> = (0..1_000).map(|turn| balancer.pick(key(turn), &[]).unwrap()).collect();
    for member in balancer.pool().members() {
        assert!(
            (240..=260).contains(&member.backend.active()),
            "{} of {}",
            member.backend.active(),
            held.len()
        );
    }
}

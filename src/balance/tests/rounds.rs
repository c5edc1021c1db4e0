//! One round worked out ahead of time: as short as it can be, and rounded where it would cost too much.

use super::schedule::{STEPS_MAX, round};
use super::*;

fn turns(weights: &[u32], steps_max: i64) -> Vec<usize> {
    let round = round(weights.to_vec(), steps_max);
    let of = |place| round.iter().filter(|turn| **turn == place).count();
    (0..).zip(weights).map(|(place, _)| of(place)).collect()
}

#[test]
fn a_round_is_as_short_as_it_can_be() {
    assert_eq!(round(vec![20, 10], STEPS_MAX).len(), 3);
    assert_eq!(round(vec![256_000; 7], STEPS_MAX).len(), 7);
    assert_eq!(round(vec![6, 10, 15], STEPS_MAX).len(), 31);
}

#[test]
fn a_round_that_costs_too_much_is_rounded_to_the_nearest() {
    // Four turns of two weights are eight steps.
    assert_eq!(turns(&[3, 1], 8), [3, 1]);
    // Halves: 3 becomes 2, and 1 stays.
    assert_eq!(turns(&[3, 1], 7), [2, 1]);
    assert_eq!(turns(&[101, 49, 1], 200), [25, 12, 1]);
}

proptest! {
    #[test]
    fn rounding_keeps_everyone_and_costs_no_more_than_allowed(
        weights in prop::collection::vec(1..=1_000_u32, 1..20), spare in 0..5_000_i64,
    ) {
        let steps_max = i64::try_from(weights.len()).unwrap() + spare;
        let turns = turns(&weights, steps_max);
        let kinds = turns.iter().collect::<std::collections::HashSet<_>>().len();
        prop_assert!(i64::try_from(turns.iter().sum::<usize>() * kinds).unwrap() <= steps_max, "{turns:?}");
        prop_assert!(turns.iter().all(|turns| *turns >= 1));
        for (one, its) in weights.iter().zip(&turns) {
            for (other, others) in weights.iter().zip(&turns) {
                prop_assert!(one < other || its >= others, "{weights:?}: {turns:?}");
            }
        }
    }
}

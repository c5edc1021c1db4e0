//! Slots by shares, to within one: what a Maglev table is filled by.

/// How many of so many slots each share is worth: rounded down, what is left to those that lose most by it (the largest remainders;
/// of equals the first). Who would have none gets one.
pub(super) fn quotas(shares: &[u32], slots: u64) -> Vec<u64> {
    let sum: u64 = shares.iter().copied().map(u64::from).sum();
    let worth = |share: u32| u64::from(share).saturating_mul(slots);
    let mut quotas: Vec<u64> = shares
        .iter()
        .map(|share| worth(*share).checked_div(sum).unwrap_or(0).max(1))
        .collect();
    let left = usize::try_from(slots.saturating_sub(quotas.iter().sum())).unwrap_or(0);
    let lost = |(share, quota): (&u32, &u64)| worth(*share).saturating_sub(quota.saturating_mul(sum));
    let lost: Vec<u64> = shares.iter().zip(&quotas).map(lost).collect();
    let mut most_lost: Vec<(&u64, &mut u64)> = lost.iter().zip(&mut quotas).collect();
    most_lost.sort_by_key(|(lost, _)| std::cmp::Reverse(**lost));
    for (_, quota) in most_lost.into_iter().take(left) {
        *quota = quota.saturating_add(1);
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_goes_to_those_who_lose_most_by_the_rounding() {
        // Of 10: 5.8, 3.3 and 0.8, of which the last has one anyway.
        assert_eq!(quotas(&[7, 4, 1], 10), [6, 3, 1]);
        assert_eq!(quotas(&[1, 1, 1], 11), [4, 4, 3]);
        assert_eq!(quotas(&[], 11), Vec::<u64>::new());
    }

    #[test]
    fn nobody_has_none_though_it_is_worth_none() {
        assert_eq!(quotas(&[100, 1, 1], 10), [9, 1, 1]);
    }
}

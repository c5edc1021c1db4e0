//! Random bits for the policies that draw: a function of a seed and a running number, so that a run can be played again.

/// 64 well-mixed bits for a running number: splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014). One of `seed` for each service, so that several balancers don't march in step.
#[must_use]
pub const fn dice(seed: u64, turn: u64) -> u64 {
    let mut bits = seed.wrapping_add(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_are_those_of_the_published_generator() {
        // The first outputs of the reference splitmix64.c for the seed 1234567.
        let outputs = [1, 2, 3].map(|turn| dice(1_234_567, turn));
        assert_eq!(
            outputs,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}

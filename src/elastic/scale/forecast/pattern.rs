//! The season of the points so far, and the level they stand on. Made by [`Forecaster`](super::Forecaster) at each full point.
//!
//! May not: hold a value that isn't finite.

/// How much a point moves the level: half the weight on the last one. Automatic exponential smoothing (AutoETS of `augurs-ets`) in its
/// place gave errors up to 7 % smaller at best, for twenty times the time, 23 more crates and a licence that .deny.toml doesn't allow.
const LEVEL_SHARE: f64 = 0.5;

/// A decomposed load.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// What each point of a season adds, by its number modulo the season's length.
    season: Vec<f32>,
    /// Seconds of a point.
    step: f64,
    /// What the season stands on at the last point.
    pub(super) level: f64,
}

impl Pattern {
    /// Of full points, the last of which has the number before `next`; `None` if that can't be done.
    pub(super) fn of(points: &[f32], period: usize, next: u64, step: f64) -> Option<Self> {
        let fit = stlrs::params().fit(points, period).ok()?;
        let seasonal = fit.seasonal();
        let mut rests = points
            .iter()
            .zip(seasonal)
            .map(|(load, season)| f64::from(load - season));
        let first = rests.next()?;
        let level = rests.fold(first, |level, rest| level + LEVEL_SHARE * (rest - level));
        let last = seasonal.get(seasonal.len().checked_sub(period)?..)?;
        // Turned, so that a point's place is its number modulo the period.
        let mut season = last.to_vec();
        let turn = usize::try_from(next.checked_rem(period as u64)?).ok()?;
        season.rotate_right(turn);
        let is_finite = level.is_finite() && season.iter().all(|value| value.is_finite());
        is_finite.then_some(Self { season, step, level })
    }

    /// What the season adds at a time: between the middles of two points, a part of each.
    pub(super) fn season(&self, seconds: f64) -> f64 {
        let position = (seconds / self.step - 0.5).max(0.0);
        let part = position.fract();
        let value = |number: u64| {
            let place = number
                .checked_rem(self.season.len() as u64)
                .and_then(|place| usize::try_from(place).ok());
            place
                .and_then(|place| self.season.get(place))
                .map_or(0.0, |value| f64::from(*value))
        };
        let number = position as u64;
        value(number) * (1.0 - part) + value(number.saturating_add(1)) * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_is_found_where_it_belongs() {
        // Three seasons of 12 points of 10 s, a peak at the third point of each; the first point seen is number 5.
        let load = |number: u64| if number % 12 == 3 { 90.0 } else { 30.0 };
        let points: Vec<f32> = (5..41).map(load).collect();
        let pattern = Pattern::of(&points, 12, 41, 10.0).expect("a pattern");
        let at = |number: f64| pattern.level + pattern.season((number + 0.5) * 10.0);
        for (number, wanted) in [
            (3.0, 90.0),
            (15.0, 90.0),
            (51.0, 90.0),
            (50.0, 30.0),
            (52.0, 30.0),
            (50.5, 60.0),
        ] {
            assert!(
                (at(number) - wanted).abs() < 1.0,
                "{} at {number}, wanted {wanted}",
                at(number)
            );
        }
    }
}

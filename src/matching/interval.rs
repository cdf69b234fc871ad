//! The interval for a share that is estimated from a sample. Pure.

/// The square of the distance from the mean that covers 95 % of a normal distribution.
const Z_SQUARED: f64 = 1.959_964 * 1.959_964;

/// Contains the share of all with 95 % certainty; from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// Wilson's score interval (1927) of `known` among `asked`, drawn without replacement from `population`. Its variance
/// shrinks with the rest of the population, and is zero if all were asked.
pub fn wilson(known: u32, asked: u32, population: u64) -> Interval {
    if asked == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (known, asked) = (f64::from(known), f64::from(asked));
    let population = f64::from(u32::try_from(population).unwrap_or(u32::MAX)).max(asked);
    let left = if population > 1.0 { (population - asked) / (population - 1.0) } else { 0.0 };
    let z_squared = Z_SQUARED * left;
    let share = known / asked;
    let scale = 1.0 + z_squared / asked;
    let middle = (share + z_squared / (2.0 * asked)) / scale;
    let variance = share * (1.0 - share) / asked + z_squared / (4.0 * asked * asked);
    let half = (z_squared * variance).sqrt() / scale;
    // The sample's own answers are certain.
    let (least, most) = (known / population, 1.0 - (asked - known) / population);
    Interval { low: (middle - half).max(least), high: (middle + half).min(most) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::sample::{SampleSize, Sampler};
    use crate::members::batch::Batch;
    use crate::members::identifier::Kind;
    use crate::members::operation::Operation;
    use rstest::rstest;

    #[rstest]
    #[case(372, 400, u64::MAX, 90.1, 95.1)]
    #[case(0, 400, u64::MAX, 0.0, 1.0)]
    #[case(400, 400, u64::MAX, 99.0, 100.0)]
    #[case(372, 400, 400, 93.0, 93.0)]
    #[case(0, 1, 1, 0.0, 0.0)]
    #[case(372, 400, 800, 91.0, 94.6)]
    #[case(0, 0, 0, 0.0, 100.0)]
    fn the_interval_narrows_with_what_was_asked(
        #[case] known: u32,
        #[case] asked: u32,
        #[case] population: u64,
        #[case] low: f64,
        #[case] high: f64,
    ) {
        let found = wilson(known, asked, population);
        let is_near = |found: f64, wanted: f64| (found * 100.0 - wanted).abs() < 0.06;
        assert!(is_near(found.low, low) && is_near(found.high, high), "{found:?}");
    }

    /// Random identifiers: each occurs once or several times in the input, and is known or not.
    #[rstest]
    #[case::external_ids(Kind::UserId)]
    #[case::aliases(Kind::Alias(0))]
    #[case::devices(Kind::DeviceId)]
    fn the_truth_of_2000_populations_is_in_their_intervals(#[case] kind: Kind) {
        let mut random = fastrand::Rng::with_seed(27 + kind.index() as u64);
        let mut hits = 0_u32;
        for number in 0..2000 {
            let (distinct, share) = (random.u32(1..1500), random.f64());
            let mut sampler = Sampler::new(SampleSize { identifiers: 100, devices: 50 }, 1);
            let mut known = 0_u32;
            for member in 0..distinct {
                let is_known = random.f64() < share;
                known += u32::from(is_known);
                let identifier = format!("{}{number}-{member}", if is_known { '+' } else { '-' });
                let mut batch = Batch::new(Operation::Add);
                (0..=random.u8(0..6) / 5).for_each(|_| batch.push(kind, identifier.as_bytes()));
                sampler.take(&batch);
            }
            let sample = sampler.finish().remove(0);
            let found = sample.identifiers.iter().filter(|identifier| identifier[0] == b'+').count();
            let asked = u32::try_from(sample.identifiers.len()).unwrap();
            let population = if sample.is_all { u64::from(asked) } else { sample.seen };
            let interval = wilson(u32::try_from(found).unwrap(), asked, population);
            let truth = f64::from(known) / f64::from(distinct);
            hits += u32::from((interval.low - 1e-9..=interval.high + 1e-9).contains(&truth));
        }
        assert!((1860..=2000).contains(&hits), "{hits} of 2000");
    }
}

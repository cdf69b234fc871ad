//! The sample: for each kind, the distinct identifiers with the smallest keyed hash. It takes one pass and constant
//! memory, does not depend on the order of the input, and is the same every night. Pure.

use std::collections::BTreeSet;
#[expect(deprecated, reason = "the one hash of the standard library that is the same in every release")]
use std::hash::{Hasher, SipHasher};

use crate::members::batch::Batch;
use crate::members::identifier::Kind;

/// Must not change: other keys give another sample, and other figures for the same input.
const KEYS: (u64, u64) = (0x6272_617a_655f_636f, 0x686f_7274_5f6d_6174);

/// How many identifiers of a kind are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSize {
    /// For external IDs, and for each alias. Braze answers 50 of them in a request.
    pub identifiers: usize,
    /// For devices. Braze answers one in a request.
    pub devices: usize,
}

impl Default for SampleSize {
    fn default() -> Self {
        Self { identifiers: 400, devices: 100 }
    }
}

impl SampleSize {
    fn of(self, kind: Kind) -> usize {
        if kind == Kind::DeviceId { self.devices } else { self.identifiers }
    }
}

/// A sample of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which kind.
    pub kind: Kind,
    /// Distinct, in the order of hashes. The first ones are a smaller sample.
    pub identifiers: Vec<Box<[u8]>>,
    /// Identifiers of this kind in the input, duplicates included.
    pub seen: u64,
    /// The sample has all of the input.
    pub is_all: bool,
}

/// Takes samples while an input is read.
pub struct Sampler(Vec<Smallest>);

struct Smallest {
    kind: Kind,
    size: usize,
    kept: BTreeSet<(u64, Box<[u8]>)>,
    seen: u64,
    is_all: bool,
}

impl Sampler {
    /// For an input with this number of aliases.
    pub fn new(size: SampleSize, aliases: usize) -> Self {
        let empty = |kind| Smallest { kind, size: size.of(kind), kept: BTreeSet::new(), seen: 0, is_all: true };
        Self(Kind::all(aliases).map(empty).collect())
    }

    /// Takes the identifiers of a batch.
    pub fn take(&mut self, batch: &Batch) {
        for (kind, identifier) in batch.identifiers() {
            if let Some(smallest) = self.0.get_mut(kind.index()) {
                smallest.take(identifier);
            }
        }
    }

    /// The samples of each kind in the input.
    pub fn finish(self) -> Vec<Sample> {
        let sample = |Smallest { kind, kept, seen, is_all, .. }| Sample {
            kind,
            identifiers: kept.into_iter().map(|(_, identifier)| identifier).collect(),
            seen,
            is_all,
        };
        self.0.into_iter().filter(|smallest| smallest.seen > 0).map(sample).collect()
    }
}

impl Smallest {
    fn take(&mut self, identifier: &[u8]) {
        self.seen += 1;
        let hash = hash(identifier);
        // Nearly all identifiers of a long input end here, without being copied.
        if self.kept.len() >= self.size && self.kept.last().is_none_or(|(largest, _)| hash > *largest) {
            self.is_all = false;
            return;
        }
        self.kept.insert((hash, identifier.into()));
        if self.kept.len() > self.size {
            self.kept.pop_last();
            self.is_all = false;
        }
    }
}

#[expect(deprecated, reason = "as above")]
fn hash(identifier: &[u8]) -> u64 {
    let mut hasher = SipHasher::new_with_keys(KEYS.0, KEYS.1);
    hasher.write(identifier);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::operation::Operation;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn sampled(identifiers: &[(Kind, String)], size: SampleSize, batch_size: usize) -> Vec<Sample> {
        let mut sampler = Sampler::new(size, 1);
        for part in identifiers.chunks(batch_size) {
            let mut batch = Batch::new(Operation::Add);
            for (kind, identifier) in part {
                batch.push(*kind, identifier.as_bytes());
            }
            sampler.take(&batch);
        }
        sampler.finish()
    }

    fn identifiers() -> impl Strategy<Value = Vec<(Kind, String)>> {
        let kind = prop_oneof![Just(Kind::UserId), Just(Kind::DeviceId), Just(Kind::Alias(0))];
        prop::collection::vec((kind, "[ab]{0,4}"), 0..120)
    }

    proptest! {
        #[test]
        fn a_sample_is_the_distinct_identifiers_with_the_smallest_hash_in_whatever_order(
            identifiers in identifiers().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            size in (0_usize..20, 0_usize..20),
            batch_size in 1_usize..50,
        ) {
            let size = SampleSize { identifiers: size.0, devices: size.1 };
            let samples = sampled(&identifiers.0, size, batch_size);
            prop_assert_eq!(&samples, &sampled(&identifiers.1, size, 7));
            for sample in samples {
                let all: Vec<_> = identifiers.0.iter().filter(|(kind, _)| *kind == sample.kind).collect();
                let mut distinct: Vec<_> =
                    all.iter().map(|(_, text)| text.as_bytes()).collect::<HashSet<_>>().into_iter().collect();
                distinct.sort_by_key(|text| hash(text));
                prop_assert_eq!(sample.seen, all.len() as u64);
                prop_assert_eq!(sample.is_all, distinct.len() <= size.of(sample.kind));
                distinct.truncate(size.of(sample.kind));
                prop_assert_eq!(sample.identifiers.iter().map(AsRef::as_ref).collect::<Vec<_>>(), distinct);
            }
        }
    }

    #[test]
    fn the_same_ones_are_asked_about_in_every_release() {
        assert_eq!(hash(b"member-zqx"), HASH);
    }

    const HASH: u64 = 17_330_426_787_096_140_408;
}

//! In: the identifiers of an input. Out: how many of a sample Braze knows, and which other spellings it knows.
//!
//! It uses one thread and at most [`MAX_REQUESTS`] requests, because the whole workspace shares their limit. It never
//! changes a cohort. Identifiers leave it only in [`Asked::unknown`].

use thiserror::Error;

use crate::braze::Refusal;
use crate::braze::export::Found;
use crate::members::identifier::Kind;

mod asker;
mod interval;
pub mod sample;
mod variant;

pub use asker::{Asker, MAX_REQUESTS};
pub use interval::Interval;
use sample::Sample;
pub use variant::Variant;

/// The check before anything is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The smallest known share of each kind, in percent. None: no check.
    pub min_match: Option<u32>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchError {
    /// Braze refuses the key.
    Key {
        /// Its message.
        said: String,
    },
    /// Braze, or something in front of it, refuses.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The address that was called.
        address: String,
    },
    /// One request failed again and again, while others succeeded.
    GivenUp {
        /// The last failure.
        said: String,
    },
}

/// Too few of a kind are known.
#[derive(Clone, Debug, PartialEq, Error)]
#[error(
    "Braze knows {share:.1} % of a sample of {asked} values of {name} ({low:.1} to {high:.1} % of all), below min_match ({wanted} %). Nothing was sent. {hint}{advice}",
    hint = if *.is_none { OTHER_WORKSPACE } else { "" }
)]
pub struct TooFew {
    /// The column of this kind.
    pub name: String,
    /// The share in percent.
    pub share: f64,
    /// Its lower bound in percent.
    pub low: f64,
    /// Its upper bound in percent.
    pub high: f64,
    /// How many were asked.
    pub asked: u32,
    /// `min_match` in percent.
    pub wanted: u32,
    /// Whether none is known.
    pub is_none: bool,
    /// How to fix it.
    pub advice: String,
}

/// What a share of 0 % may mean.
pub const OTHER_WORKSPACE: &str =
    "If Braze knows no identifier of a kind, BRAZE_REST_API_KEY may be a key of another workspace. ";

/// The counts of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// For external IDs, aliases, and devices in this order, if the input has them.
    pub kinds: Vec<KindFigures>,
    /// All requests, including retries.
    pub requests: u32,
}

/// The counts of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindFigures {
    /// Which kind.
    pub kind: Kind,
    /// Its column.
    pub name: String,
    /// Identifiers in the input, duplicates included.
    pub seen: u64,
    /// The size of the sample.
    pub sampled: u32,
    /// The sample has all of the input.
    is_all: bool,
    /// Known; of devices, those of anonymous users.
    pub known: u32,
    /// Devices of users who have an external ID.
    pub identified: u32,
    /// Unknown.
    pub unknown: u32,
    /// Identifiers with a contradictory answer.
    pub cannot_tell: u32,
    /// How many of these were asked about again in all other spellings.
    pub asked_again: u32,
    /// How many of these exist in each spelling.
    pub exist: Vec<(Variant, u32)>,
}

/// Figures, and the unknown identifiers.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// The figures.
    pub figures: Figures,
    /// The unknown identifiers for each kind in the figures.
    pub unknown: Vec<Vec<Box<[u8]>>>,
}

impl Figures {
    /// The first kind of which certainly less than `min_match` percent are known.
    pub fn too_few(&self, min_match: u32) -> Option<TooFew> {
        let is_below = |kind: &&KindFigures| kind.asked() > 0 && kind.interval().high * 100.0 < f64::from(min_match);
        let kind = self.kinds.iter().find(is_below)?;
        let Interval { low, high } = kind.interval();
        let advice = kind.advice();
        Some(TooFew {
            name: kind.name.clone(),
            share: kind.share() * 100.0,
            low: low * 100.0,
            high: high * 100.0,
            asked: kind.asked(),
            wanted: min_match,
            is_none: kind.is_none_known(),
            advice: if advice.is_empty() {
                "To see which ones are unknown, run match with --unknown".to_owned()
            } else {
                advice.join(". ")
            },
        })
    }
}

impl KindFigures {
    fn new(sample: &Sample, labels: &[String], found: &[Found]) -> Self {
        let of = |wanted| found.iter().fold(0, |count, found| count + u32::from(*found == wanted));
        Self {
            kind: sample.kind,
            name: sample.kind.column(labels).to_owned(),
            seen: sample.seen,
            sampled: u32::try_from(sample.identifiers.len()).unwrap_or(u32::MAX),
            is_all: sample.is_all,
            known: of(Found::Known),
            identified: of(Found::Identified),
            unknown: of(Found::Unknown),
            cannot_tell: of(Found::CannotTell),
            asked_again: 0,
            exist: Vec::new(),
        }
    }

    /// How many were asked about.
    pub fn asked(&self) -> u32 {
        self.known + self.identified + self.unknown + self.cannot_tell
    }

    /// How many have a clear answer.
    pub fn answered(&self) -> u32 {
        self.asked() - self.cannot_tell
    }

    /// The known share, from 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.known) / f64::from(self.answered().max(1))
    }

    /// The interval of the known share of all. Identifiers with a contradictory answer may be known or not.
    pub fn interval(&self) -> Interval {
        // The number of distinct ones is unknown. Duplicates make the interval rather too wide.
        let population = if self.is_all { u64::from(self.sampled) } else { self.seen };
        let of = |known| interval::wilson(known, self.asked(), population);
        Interval { low: of(self.known).low, high: of(self.known + self.cannot_tell).high }
    }

    /// About how many of all are known, to four digits.
    pub fn about(&self) -> u64 {
        let answered = u128::from(self.answered().max(1));
        let about = (u128::from(self.seen) * u128::from(self.known) + answered / 2) / answered;
        let unit = 10_u128.pow(about.max(1).ilog10().saturating_sub(3));
        u64::try_from((about + unit / 2) / unit * unit).unwrap_or(u64::MAX)
    }

    /// Whether some were asked about, but none is known.
    pub fn is_none_known(&self) -> bool {
        self.answered() > 0 && self.known + self.identified == 0
    }

    /// What to change in the query: a sentence for each spelling.
    pub fn advice(&self) -> Vec<String> {
        let one = |(variant, count): &(Variant, u32)| {
            let (unknown, written) = (self.unknown, variant.in_query(&self.name));
            format!(
                "Of the {unknown} unknown values of {}, Braze knows {count} {}: write {written} in the query",
                self.name,
                variant.words()
            )
        };
        self.exist.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests;

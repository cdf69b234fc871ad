//! The kinds of values that settings have, and their descriptions in messages.

use super::setting::Setting;

/// No job number is this long.
pub const JOB_DIGITS: usize = 30;

/// What a value may be. Numbers and booleans may also be text, as Digdag passes them.
#[derive(Clone, Copy, Debug)]
pub enum ValueKind {
    /// Text that is not empty, or a number as written.
    Text,
    /// Letters, digits, `_` and `-`.
    Segment,
    /// The number of a job: at most [`JOB_DIGITS`] digits.
    JobNumber,
    /// A table and its database.
    Table,
    /// One of these names.
    OneOf(fn() -> Vec<&'static str>),
    /// A list, or text with commas.
    List,
    /// A path or a pattern, or a list of them.
    Paths,
    /// Pairs of names.
    Map,
    /// A whole number in this range.
    Whole(u64, u64),
    /// A whole number, or a percentage.
    Share,
    /// A percentage.
    Percent,
    /// A whole number with a unit.
    Duration,
    /// A duration, or one of these words.
    DurationOr(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
}

impl Setting {
    /// What a value must be, for a message.
    pub fn wanted(&self) -> String {
        match self.kind {
            ValueKind::Text => "a string".to_owned(),
            ValueKind::Segment => "letters, digits, _ and - only".to_owned(),
            ValueKind::JobNumber => format!("the number of a job, such as {}", self.examples.concat()),
            ValueKind::OneOf(names) => one_of(&names().iter().map(|name| format!("'{name}'")).collect::<Vec<_>>()),
            ValueKind::List => "a list, or text with commas".to_owned(),
            ValueKind::Paths => "a path, a pattern, or a list of them".to_owned(),
            ValueKind::Map => format!("a map such as {}", self.examples.join(" or ")),
            ValueKind::Whole(from, to) => whole(from, to),
            ValueKind::Share => "a whole number, or a percentage such as 5%".to_owned(),
            ValueKind::Percent => "a percentage such as 80%".to_owned(),
            ValueKind::Table => "database.table, each of letters, digits and _".to_owned(),
            ValueKind::Duration => DURATION.to_owned(),
            ValueKind::DurationOr(words) => format!("{DURATION}, or {}", words.join(" or ")),
            ValueKind::Flag => "true or false".to_owned(),
        }
    }
}

const DURATION: &str = "a duration above 0, such as 30s, 15m, 23h or 30d";

/// A whole number in this range, for a message.
pub fn whole(from: u64, to: u64) -> String {
    match (from, to) {
        (0, u64::MAX) => "a whole number".to_owned(),
        (from, u64::MAX) => format!("a whole number of at least {from}"),
        (from, to) => format!("a whole number from {from} to {to}"),
    }
}

/// These names, for a message.
pub fn one_of(names: &[String]) -> String {
    match names {
        [several @ .., last] if !several.is_empty() => format!("{} or {last}", several.join(", ")),
        names => names.concat(),
    }
}

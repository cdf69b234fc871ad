//! The names of the tables for a cohort's state. Pure.

use ring::{digest, hmac};

use crate::mirror::warehouse::Name;
use crate::secret::Secret;

/// Longer than any run, in seconds. Tasks end after a day.
const LONGEST_RUN: u64 = 2 * 24 * 60 * 60;
/// How many letters of a cohort ID are in the name, so that people can read it.
const READABLE: usize = 40;

/// The place of one cohort's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The database.
    pub database: String,
    /// The part of the names that is independent of the key.
    pub base: String,
    /// The same for all runs with one data import key, and so for one Braze workspace.
    pub fingerprint: String,
}

/// What a table's name shows about its relation to a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It belongs to the state: a version, or the table of an unfinished step.
    Ours(Name),
    /// A version of the same cohort with another data import key.
    OtherKey {
        /// The hash of that key.
        fingerprint: String,
        /// The version.
        number: u64,
    },
    /// Something else, or a table of a run that may be alive.
    Nothing,
}

impl State {
    /// The state of a cohort. `table` is its name in the settings; `cohort` identifies the cohort by endpoint, partner
    /// and ID.
    pub fn new(database: &str, table: Option<&str>, cohort: [&str; 3], key: &Secret) -> Self {
        let said = cohort.join("\n");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
        let hash = digest::digest(&digest::SHA256, said.as_bytes());
        let name = table.map_or_else(|| format!("braze_{}", readable(cohort[2])), str::to_owned);
        // The hash keeps cohorts that share a `state_table` from sharing a state.
        let base = format!("{name}_{}", hex(hash.as_ref()));
        let fingerprint = hex(hmac::sign(&key, said.as_bytes()).as_ref());
        Self { database: database.to_owned(), base, fingerprint }
    }

    /// The name of a table.
    pub fn table(&self, name: &Name) -> String {
        match name {
            Name::Version(number) => format!("{}_{}_{number}", self.base, self.fingerprint),
            Name::Work(table) => table.clone(),
        }
    }

    /// The table for one step of a run that began at `began`, in seconds since 1970. `unique` differs for each run.
    pub fn work(&self, began: u64, unique: &str) -> String {
        format!("{}_{}_w{began}_{unique}", self.base, self.fingerprint)
    }

    /// What a listed table is at `now`, in seconds since 1970.
    pub fn find(&self, table: &str, now: u64) -> Found {
        let Some(rest) = table.strip_prefix(&self.base).and_then(|rest| rest.strip_prefix('_')) else {
            return Found::Nothing;
        };
        let Some((fingerprint, rest)) = rest.split_once('_') else { return Found::Nothing };
        let is_other = fingerprint != self.fingerprint;
        let number = |text: &str| text.parse().ok().filter(|number: &u64| number.to_string() == text);
        let began = |text: &str| text.strip_prefix('w')?.split_once('_').and_then(|(began, _)| number(began));
        match (number(rest), began(rest)) {
            (Some(number), _) if is_other && is_hex(fingerprint) => {
                Found::OtherKey { fingerprint: fingerprint.to_owned(), number }
            }
            _ if is_other => Found::Nothing,
            (Some(number), _) => Found::Ours(Name::Version(number)),
            (None, Some(began)) if now > began.saturating_add(LONGEST_RUN) => Found::Ours(Name::Work(table.to_owned())),
            _ => Found::Nothing,
        }
    }
}

/// The beginning of a cohort ID, in letters that are allowed in table names.
fn readable(cohort_id: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    cohort_id.chars().take(READABLE).map(letter).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().take(HEX_BYTES).flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

fn is_hex(text: &str) -> bool {
    text.len() == 2 * HEX_BYTES && text.bytes().all(|letter| letter.is_ascii_hexdigit())
}

/// Enough to tell one customer's cohorts and keys apart.
const HEX_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(table: Option<&str>, cohort_id: &str, key: &str) -> State {
        let cohort = ["https://rest.iad-01.braze.com", "treasure_data", cohort_id];
        State::new("db", table, cohort, &Secret::new(key.to_owned()))
    }

    #[test]
    fn a_name_is_the_same_for_ever_and_fits() {
        let gold = state(None, "Gold members", "key-zqx");
        assert_eq!(gold.table(&Name::Version(12)), "braze_gold_members_ec9fb52e_9aa4320c_12");
        let long = state(None, &"日x".repeat(500), "key-zqx");
        let name = long.work(9_999_999_999, "0123456789abcdef");
        assert!(
            name.len() <= 128
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        );
    }

    #[test]
    fn the_cohort_and_the_key_are_told_apart() {
        let one = state(None, "a b", "key-zqx");
        assert_ne!(one.base, state(None, "a_b", "key-zqx").base);
        assert_ne!(state(Some("kept"), "a", "key-zqx").base, state(Some("kept"), "b", "key-zqx").base);
        let other = state(None, "a b", "key-zqy");
        assert_eq!((one.base.as_str(), one.fingerprint == other.fingerprint), (other.base.as_str(), false));
        let found = Found::OtherKey { fingerprint: other.fingerprint.clone(), number: 4 };
        assert_eq!(one.find(&other.table(&Name::Version(4)), 0), found);
        assert_eq!(one.find(&other.work(0, "ab"), u64::MAX), Found::Nothing);
    }

    #[test]
    fn its_tables_are_found_among_all() {
        let state = state(Some("kept"), "a", "key-zqx");
        for number in [0, 1, 12, u64::MAX] {
            let name = Name::Version(number);
            assert_eq!(state.find(&state.table(&name), 0), Found::Ours(name));
        }
        let work = state.work(1000, "ab");
        assert_eq!(state.find(&work, 1000 + LONGEST_RUN), Found::Nothing);
        assert_eq!(state.find(&work, 1001 + LONGEST_RUN), Found::Ours(Name::Work(work.clone())));
        let prefix = format!("{}_{}", state.base, state.fingerprint);
        for table in [
            "kept",
            "kept_1",
            "kept_x_1",
            "kept_notes_1",
            &format!("kept_{}_1", state.fingerprint),
            &prefix,
            &format!("{prefix}_01"),
            &format!("{prefix}_1_2"),
            "other",
        ] {
            assert_eq!(state.find(table, u64::MAX), Found::Nothing, "{table}");
        }
    }
}

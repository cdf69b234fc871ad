//! What is shown of the store, as JSON.

use serde::Serialize;

use super::identifiers::Named;
use super::store::{Effect, Operation};

/// A change that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The number of the request that asked for it.
    pub request: u64,
    /// What was asked for.
    pub operation: Operation,
    /// With which identifier, of which the first 256 characters are kept.
    #[serde(flatten)]
    pub identifier: Named,
    /// What came of it.
    pub effect: Effect,
}

/// A cohort as it is at one moment, or a part of each of its lists. Each member is listed exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CohortView {
    /// Its ID, as requests gave it.
    pub cohort_id: String,
    /// What Braze shows it as; `None` where members came before a name.
    pub name: Option<String>,
    /// Of the latest request's path.
    pub partner: String,
    /// As the latest naming request gave it.
    pub created_at: Option<String>,
    /// The number of members.
    pub members: usize,
    /// With known users: identifiers that were to be added and matched nobody, counted each time.
    pub unknown: u64,
    /// How long each of the following lists is, whatever part of it is here.
    pub totals: Totals,
    /// External IDs; sorted if all of them are here.
    pub user_ids: Vec<String>,
    /// Device IDs; sorted if all of them are here. With known users: of members without an external ID.
    pub device_ids: Vec<String>,
    /// Aliases, by label; sorted if all of them are here. With known users: of members with neither of the other two.
    pub aliases: Vec<Alias>,
    /// The last 1,000 changes whose identifier matched no known user, the newest first.
    pub unmatched: Vec<Applied>,
    /// The last 100 changes, the newest first.
    pub changes: Vec<Applied>,
}

/// The lengths of a cohort's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "named after the lists")]
pub struct Totals {
    pub user_ids: usize,
    pub device_ids: usize,
    pub aliases: usize,
    pub unmatched: usize,
    pub changes: usize,
}

/// A user alias.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Alias {
    /// Which alias it is, such as `email`.
    pub alias_label: String,
    /// Its value for this user.
    pub alias_name: String,
}

/// A cohort without its members' identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CohortSummary {
    pub cohort_id: String,
    pub name: Option<String>,
    pub partner: String,
    pub members: usize,
    pub unknown: u64,
}

/// A cohort that an identifier is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    pub cohort_id: String,
    pub name: Option<String>,
    /// As it was searched for.
    #[serde(flatten)]
    pub identifier: Named,
    /// What stands for the user.
    pub member: Named,
    /// The number of the request since which it is a member.
    pub since_request: u64,
}

/// A change that matched no user, and its cohort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    pub cohort_id: String,
    #[serde(flatten)]
    pub change: Applied,
}

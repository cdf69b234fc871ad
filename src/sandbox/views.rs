//! The store as JSON.

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
    /// The identifier; its first 256 characters are kept.
    #[serde(flatten)]
    pub identifier: Named,
    /// What it did.
    pub effect: Effect,
}

/// A cohort as it is at one moment, or a part of each of its lists. Each member is listed exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CohortView {
    /// Its ID, as requests gave it.
    pub cohort_id: String,
    /// The name that Braze shows; `None` if members came before a name.
    pub name: Option<String>,
    /// From the path of the latest request.
    pub partner: String,
    /// From the latest naming request.
    pub created_at: Option<String>,
    /// The number of members.
    pub members: usize,
    /// With known users: how many added identifiers matched no user, repeated ones included.
    pub unknown: u64,
    /// The full length of each of the following lists.
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

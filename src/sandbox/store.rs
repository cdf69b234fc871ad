//! Cohorts and their members. Adding and removing are set operations.

use std::collections::{BTreeMap, VecDeque};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::identifiers::{Identifier, IdentifierMap};
use super::recent::{Page, keep, shortened};
use super::rules::{Naming, Users};
use super::users::KnownUsers;
use super::views::{Alias, Applied, CohortView, Totals};

/// How many changes of each cohort are kept, and how many that matched no user.
const RECENT_CHANGES: usize = 100;
const RECENT_UNMATCHED: usize = 1_000;
/// The most that a search finds of each kind.
const MAX_FOUND: usize = 1_000;

/// What a change does with its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make it a member.
    Add,
    /// End its membership.
    Remove,
}

/// One identifier to add or to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    pub operation: Operation,
    pub identifier: Identifier<&'a str>,
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A new member.
    Added,
    /// It already was a member.
    AlreadyMember,
    /// No longer a member.
    Removed,
    /// It was no member.
    NotMember,
    /// No known user has the identifier.
    NoSuchUser,
    /// The known user with this device ID has an external ID, so it is not found by device.
    DeviceOfIdentified,
}

/// All cohorts.
pub struct Store {
    /// Without them every identifier is a user.
    pub known: Option<KnownUsers>,
    cohorts: BTreeMap<String, Cohort>,
}

#[derive(Default)]
struct Cohort {
    name: Option<String>,
    partner: String,
    created_at: Option<String>,
    /// The request since which each is a member. With known users each user is here once, under the identifier that
    /// represents it.
    members: IdentifierMap<u64>,
    unknown: u64,
    /// The newest first.
    unmatched: VecDeque<Applied>,
    /// The newest first.
    changes: VecDeque<Applied>,
}

impl Store {
    /// No cohorts yet.
    pub fn new(known: Option<KnownUsers>) -> Self {
        Self { known, cohorts: BTreeMap::new() }
    }

    /// Creates or renames the cohort.
    pub fn name(&mut self, partner: &str, naming: &Naming) {
        let cohort = self.cohorts.entry(naming.cohort_id.to_owned()).or_default();
        partner.clone_into(&mut cohort.partner);
        cohort.name = Some(naming.name.to_owned());
        cohort.created_at = Some(naming.created_at.to_owned());
    }

    /// Applies all changes of a request in order. A cohort that was never named is created without a name.
    pub fn apply(&mut self, partner: &str, request: u64, users: &Users) {
        let cohort = self.cohorts.entry(users.cohort_id.to_owned()).or_default();
        partner.clone_into(&mut cohort.partner);
        for (index, change) in users.changes.iter().enumerate() {
            let found = self.known.as_ref().map_or(Ok(change.identifier), |known| known.find(change.identifier));
            let effect = match (change.operation, found) {
                (Operation::Add, Ok(member)) if cohort.members.insert_new(member, request) => Effect::Added,
                (Operation::Add, Ok(_)) => Effect::AlreadyMember,
                (Operation::Remove, Ok(member)) if cohort.members.remove(member) => Effect::Removed,
                (Operation::Remove, Ok(_)) => Effect::NotMember,
                (operation, Err(reason)) => {
                    cohort.unknown += u64::from(operation == Operation::Add);
                    reason
                }
            };
            let applied = || Applied {
                request,
                operation: change.operation,
                identifier: change.identifier.named(shortened),
                effect,
            };
            if found.is_err() {
                keep(&mut cohort.unmatched, applied(), RECENT_UNMATCHED);
            }
            // Earlier ones would be dropped at once.
            if index + RECENT_CHANGES >= users.changes.len() {
                keep(&mut cohort.changes, applied(), RECENT_CHANGES);
            }
        }
    }

    /// The cohort with this ID, with a page of each of its lists.
    pub fn cohort(&self, id: &str, page: Page) -> Option<CohortView> {
        let (id, cohort) = self.cohorts.get_key_value(id)?;
        let members = &cohort.members;
        let mut view = CohortView {
            cohort_id: id.clone(),
            name: cohort.name.clone(),
            partner: cohort.partner.clone(),
            created_at: cohort.created_at.clone(),
            members: members.len(),
            unknown: cohort.unknown,
            totals: Totals {
                user_ids: members.external_ids.len(),
                device_ids: members.device_ids.len(),
                aliases: members.alias_count(),
                unmatched: cohort.unmatched.len(),
                changes: cohort.changes.len(),
            },
            user_ids: page.of(members.external_ids.keys()).cloned().collect(),
            device_ids: page.of(members.device_ids.keys()).cloned().collect(),
            aliases: aliases(&members.aliases, page),
            unmatched: page.of(cohort.unmatched.iter()).cloned().collect(),
            changes: page.of(cohort.changes.iter()).cloned().collect(),
        };
        if page == Page::ALL {
            view.user_ids.sort_unstable();
            view.device_ids.sort_unstable();
            view.aliases.sort_unstable();
        }
        Some(view)
    }

    /// The number of cohorts, and a page of them by ID, without members.
    pub fn cohorts(&self, page: Page) -> Value {
        let summary = |(id, cohort): (&String, &Cohort)| {
            json!({
                "cohort_id": id,
                "name": cohort.name,
                "partner": cohort.partner,
                "members": cohort.members.len(),
                "unknown": cohort.unknown,
            })
        };
        json!({ "total": self.cohorts.len(), "cohorts": page.of(self.cohorts.iter()).map(summary).collect::<Value>() })
    }

    /// The cohorts of an identifier of any kind and label, and the member that represents its user; the first 1,000.
    pub fn memberships(&self, text: &str) -> Vec<Value> {
        let found = self.cohorts.iter().flat_map(|(id, cohort)| {
            let membership = move |identifier: Identifier<&str>, member: Identifier<&str>| {
                let since_request = cohort.members.get(member)?;
                let mut found = json!(identifier.named(str::to_owned));
                found["cohort_id"] = json!(id);
                found["name"] = json!(cohort.name);
                found["member"] = json!(member.named(str::to_owned));
                found["since_request"] = json!(since_request);
                Some(found)
            };
            let known = self.known.iter().flat_map(|known| known.with_text(text));
            let own = self.known.is_none().then(|| cohort.members.with_text(text)).into_iter().flatten();
            known
                .chain(own.map(|(member, _)| (member, member)))
                .filter_map(move |(as_sent, member)| membership(as_sent, member))
        });
        found.take(MAX_FOUND).collect()
    }

    /// The kept changes of this identifier that matched no user; the first 1,000.
    pub fn unmatched(&self, text: &str) -> Vec<Value> {
        let text = shortened(text);
        let found = self.cohorts.iter().flat_map(|(id, cohort)| {
            let changes = cohort.unmatched.iter().filter(|change| change.identifier.identifier == text);
            changes.map(move |change| {
                let mut found = json!(change);
                found["cohort_id"] = json!(id);
                found
            })
        });
        found.take(MAX_FOUND).collect()
    }
}

/// A page of all aliases, by label.
fn aliases(by_label: &BTreeMap<String, IndexMap<String, u64>>, page: Page) -> Vec<Alias> {
    let all = by_label.iter().flat_map(|(label, names)| names.keys().map(move |name| (label, name)));
    page.of(all).map(|(label, name)| Alias { alias_label: label.clone(), alias_name: name.clone() }).collect()
}

#[cfg(test)]
mod tests;

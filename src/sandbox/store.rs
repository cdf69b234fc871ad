//! Cohorts and their members. Adding and removing are set operations.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::identifiers::{Identifier, IdentifierMap};
use super::recent::{Page, Recent, shortened};
use super::rules::{Naming, Users};
use super::users::KnownUsers;
use super::views::{Alias, Applied, CohortSummary, CohortView, Membership, Totals, Unmatched};

/// How many changes of each cohort are kept, and how many that matched no user.
const RECENT_CHANGES: usize = 100;
const RECENT_UNMATCHED: usize = 1_000;
/// The most that a search finds of each kind.
const MAX_FOUND: usize = 1_000;

/// What a change does with its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It is to be a member.
    Add,
    /// It is to be none.
    Remove,
}

/// One identifier to add or to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    pub operation: Operation,
    pub identifier: Identifier<&'a str>,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A new member.
    Added,
    /// Added, and a member before.
    AlreadyMember,
    /// A member no more.
    Removed,
    /// Removed, and no member before.
    NotMember,
    /// No known user has the identifier.
    NoSuchUser,
    /// The known user with this device ID has an external ID, so it is not found by device.
    DeviceOfIdentified,
}

/// All cohorts.
pub struct Store {
    known: Option<KnownUsers>,
    cohorts: BTreeMap<String, Cohort>,
}

struct Cohort {
    name: Option<String>,
    partner: String,
    created_at: Option<String>,
    /// Since which request each is one. With known users each member is here under the one identifier that stands for
    /// its user.
    members: IdentifierMap<u64>,
    unknown: u64,
    unmatched: Recent<Applied>,
    changes: Recent<Applied>,
}

impl Default for Cohort {
    fn default() -> Self {
        Self {
            name: None,
            partner: String::new(),
            created_at: None,
            members: IdentifierMap::default(),
            unknown: 0,
            unmatched: Recent::new(RECENT_UNMATCHED),
            changes: Recent::new(RECENT_CHANGES),
        }
    }
}

impl Store {
    /// The users that are known; none if everybody is.
    pub fn known(&self) -> Option<&KnownUsers> {
        self.known.as_ref()
    }

    /// No cohorts yet. Without known users every identifier is a member of its own.
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
                cohort.unmatched.push(applied());
            }
            // Those before would be pushed out at once.
            if index + RECENT_CHANGES >= users.changes.len() {
                cohort.changes.push(applied());
            }
        }
    }

    /// The cohort with this ID, and this part of each of its lists.
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

    /// How many cohorts there are, and this part of them by ID.
    pub fn cohorts(&self, page: Page) -> (usize, Vec<CohortSummary>) {
        let summary = |(id, cohort): (&String, &Cohort)| CohortSummary {
            cohort_id: id.clone(),
            name: cohort.name.clone(),
            partner: cohort.partner.clone(),
            members: cohort.members.len(),
            unknown: cohort.unknown,
        };
        (self.cohorts.len(), page.of(self.cohorts.iter()).map(summary).collect())
    }

    /// Which cohorts an identifier is in, of any kind and label; the first 1,000.
    pub fn memberships(&self, text: &str) -> Vec<Membership> {
        let found = self.cohorts.iter().flat_map(|(id, cohort)| {
            let membership = move |identifier: Identifier<&str>, member: Identifier<&str>| {
                Some(Membership {
                    cohort_id: id.clone(),
                    name: cohort.name.clone(),
                    identifier: identifier.named(str::to_owned),
                    member: member.named(str::to_owned),
                    since_request: *cohort.members.get(member)?,
                })
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
    pub fn unmatched(&self, text: &str) -> Vec<Unmatched> {
        let text = shortened(text);
        let found = self.cohorts.iter().flat_map(|(id, cohort)| {
            let changes = cohort.unmatched.iter().filter(|change| change.identifier.identifier == text);
            changes.map(|change| Unmatched { cohort_id: id.clone(), change: change.clone() })
        });
        found.take(MAX_FOUND).collect()
    }
}

/// This part of all aliases. Whole labels are skipped at once.
fn aliases(by_label: &BTreeMap<String, IndexMap<String, u64>>, page: Page) -> Vec<Alias> {
    let (mut skip, mut left) = (page.offset, page.limit.unwrap_or(usize::MAX));
    let mut aliases = Vec::new();
    for (label, names) in by_label {
        let part = Page { offset: skip, limit: Some(left) };
        let before = aliases.len();
        let alias = |name: &String| Alias { alias_label: label.clone(), alias_name: name.clone() };
        aliases.extend(part.of(names.keys()).map(alias));
        skip = skip.saturating_sub(names.len());
        left -= aliases.len() - before;
    }
    aliases
}

#[cfg(test)]
mod tests;

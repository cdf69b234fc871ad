//! Cohorts and their members. Adding and removing are set operations.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::rules::{Naming, Users};
use super::users::KnownUsers;

/// What a change does with its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Add,
    Remove,
}

/// One identifier, by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifier<S> {
    ExternalId(S),
    DeviceId(S),
    Alias { label: S, name: S },
}

/// One identifier to add or to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    pub operation: Operation,
    pub identifier: Identifier<&'a str>,
}

/// A cohort as it is at one moment. Each member is listed exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CohortView {
    /// Its ID, as requests gave it.
    pub cohort_id: String,
    /// What Braze shows it as; `None` where members came before a name.
    pub name: Option<String>,
    /// As the latest naming request gave it.
    pub created_at: Option<String>,
    /// The number of members.
    pub members: usize,
    /// External IDs, sorted.
    pub user_ids: Vec<String>,
    /// Device IDs, sorted. With known users: of members without an external ID.
    pub device_ids: Vec<String>,
    /// Aliases, sorted. With known users: of members with neither of the other two.
    pub aliases: Vec<Alias>,
    /// With known users: identifiers that were to be added and matched nobody, counted each time.
    pub unknown: u64,
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
    pub members: usize,
}

/// All cohorts.
pub struct Store {
    known: Option<KnownUsers>,
    cohorts: BTreeMap<String, Cohort>,
}

/// With known users each member stands here under the one identifier that stands for its user.
#[derive(Default)]
struct Cohort {
    name: Option<String>,
    created_at: Option<String>,
    members: Members,
    unknown: u64,
}

impl Store {
    /// No cohorts yet. Without known users every identifier is a member of its own.
    pub fn new(known: Option<KnownUsers>) -> Self {
        Self { known, cohorts: BTreeMap::new() }
    }

    /// The users that are known; none if everybody is.
    pub fn known(&self) -> Option<&KnownUsers> {
        self.known.as_ref()
    }

    /// Creates or renames the cohort.
    pub fn name(&mut self, naming: &Naming) {
        let cohort = self.cohorts.entry(naming.cohort_id.to_owned()).or_default();
        cohort.name = Some(naming.name.to_owned());
        cohort.created_at = Some(naming.created_at.to_owned());
    }

    /// Applies all changes in order. A cohort that was never named is created without a name.
    pub fn apply(&mut self, users: &Users) {
        let cohort = self.cohorts.entry(users.cohort_id.to_owned()).or_default();
        for change in &users.changes {
            let member = match &self.known {
                Some(known) => known.find(change.identifier),
                None => Some(change.identifier),
            };
            match (change.operation, member) {
                (Operation::Add, Some(member)) => cohort.members.insert(member),
                (Operation::Add, None) => cohort.unknown += 1,
                (Operation::Remove, Some(member)) => cohort.members.remove(member),
                (Operation::Remove, None) => {}
            }
        }
    }

    /// The cohort with this ID.
    pub fn cohort(&self, id: &str) -> Option<CohortView> {
        let cohort = self.cohorts.get(id)?;
        Some(CohortView {
            cohort_id: id.to_owned(),
            name: cohort.name.clone(),
            created_at: cohort.created_at.clone(),
            members: cohort.members.len(),
            user_ids: sorted(&cohort.members.external_ids),
            device_ids: sorted(&cohort.members.device_ids),
            aliases: cohort.members.sorted_aliases(),
            unknown: cohort.unknown,
        })
    }

    /// All cohorts, by ID.
    pub fn cohorts(&self) -> Vec<CohortSummary> {
        let summary = |(id, cohort): (&String, &Cohort)| CohortSummary {
            cohort_id: id.clone(),
            name: cohort.name.clone(),
            members: cohort.members.len(),
        };
        self.cohorts.iter().map(summary).collect()
    }
}

/// A set of identifiers; an alias is one by its label and its name.
#[derive(Default)]
struct Members {
    external_ids: HashSet<String>,
    device_ids: HashSet<String>,
    aliases: BTreeMap<String, HashSet<String>>,
}

impl Members {
    fn insert(&mut self, member: Identifier<&str>) {
        let (set, text) = match member {
            Identifier::ExternalId(id) => (&mut self.external_ids, id),
            Identifier::DeviceId(id) => (&mut self.device_ids, id),
            Identifier::Alias { label, name } => (self.aliases.entry(label.to_owned()).or_default(), name),
        };
        if !set.contains(text) {
            set.insert(text.to_owned());
        }
    }

    fn remove(&mut self, member: Identifier<&str>) {
        match member {
            Identifier::ExternalId(id) => self.external_ids.remove(id),
            Identifier::DeviceId(id) => self.device_ids.remove(id),
            Identifier::Alias { label, name } => self.aliases.get_mut(label).is_some_and(|names| names.remove(name)),
        };
    }

    fn len(&self) -> usize {
        let aliases: usize = self.aliases.values().map(HashSet::len).sum();
        self.external_ids.len() + self.device_ids.len() + aliases
    }

    fn sorted_aliases(&self) -> Vec<Alias> {
        let alias = |label: &String, name| Alias { alias_label: label.clone(), alias_name: name };
        let labelled = |(label, names)| sorted(names).into_iter().map(move |name| alias(label, name));
        self.aliases.iter().flat_map(labelled).collect()
    }
}

fn sorted(set: &HashSet<String>) -> Vec<String> {
    let mut sorted: Vec<String> = set.iter().cloned().collect();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests;

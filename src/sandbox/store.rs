//! Cohorts and their members. Adding and removing are set operations.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rules::{Naming, Users};
use super::users::KnownUsers;

/// How many changes of each cohort are kept, and how many of those that matched no user.
const RECENT_CHANGES: usize = 100;
const RECENT_UNMATCHED: usize = 1_000;

/// The list in a request that contains the identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An external ID.
    UserIds,
    /// A device.
    DeviceIds,
    /// A user alias.
    Aliases,
}

/// One identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Identifier {
    /// Its list in a request.
    pub kind: Kind,
    /// Only for an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_label: Option<String>,
    /// The ID, or the alias name.
    pub identifier: String,
}

impl Identifier {
    /// An external ID.
    pub fn external_id(identifier: String) -> Self {
        Self { kind: Kind::UserIds, alias_label: None, identifier }
    }

    /// A device ID.
    pub fn device_id(identifier: String) -> Self {
        Self { kind: Kind::DeviceIds, alias_label: None, identifier }
    }
}

/// A user alias, as Braze writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    /// Which alias it is, such as `email`.
    pub alias_label: String,
    /// Its value for this user.
    pub alias_name: String,
}

impl From<Alias> for Identifier {
    fn from(alias: Alias) -> Self {
        Self { kind: Kind::Aliases, alias_label: Some(alias.alias_label), identifier: alias.alias_name }
    }
}

impl From<&Identifier> for Alias {
    fn from(alias: &Identifier) -> Self {
        Self { alias_label: alias.alias_label.clone().unwrap_or_default(), alias_name: alias.identifier.clone() }
    }
}

/// What to do with an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make it a member.
    Add,
    /// End its membership.
    Remove,
}

/// The effect of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A new member.
    Added,
    /// It already was a member.
    AlreadyMember,
    /// No longer a member.
    Removed,
    /// It was not a member.
    NotMember,
    /// No known user has the identifier.
    NoSuchUser,
    /// The known user with this device ID has an external ID, so a device ID does not find it.
    DeviceOfIdentified,
}

/// A change that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The number of the request that asked for it.
    pub request: u64,
    /// The requested operation.
    pub operation: Operation,
    /// The identifier.
    #[serde(flatten)]
    pub identifier: Identifier,
    /// What it did.
    pub effect: Effect,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many items come before it.
    pub offset: usize,
    /// The most items in it; `None` for all.
    pub limit: Option<usize>,
}

impl Page {
    /// Everything.
    pub const ALL: Self = Self { offset: 0, limit: None };

    /// This part of a list.
    pub fn of<T>(self, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        items.skip(self.offset).take(self.limit.unwrap_or(usize::MAX))
    }
}

/// Adds an item in front, and drops the last ones beyond `most`.
pub fn keep<T>(items: &mut VecDeque<T>, item: T, most: usize) {
    items.push_front(item);
    items.truncate(most);
}

/// A cohort at one moment, or a part of each of its lists. Each member is listed exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CohortView {
    /// Its ID, as in requests.
    pub cohort_id: String,
    /// The name that Braze shows; `None` if members came before a name.
    pub name: Option<String>,
    /// From the path of the latest request.
    pub partner: String,
    /// From the latest naming request.
    pub created_at: Option<String>,
    /// The number of members.
    pub members: usize,
    /// With known users: how many added identifiers matched no user, including repeated ones.
    pub unknown: u64,
    /// The full length of each of the following lists.
    pub totals: BTreeMap<&'static str, usize>,
    /// External IDs, sorted.
    pub user_ids: Vec<String>,
    /// Device IDs, sorted. With known users: of members without an external ID.
    pub device_ids: Vec<String>,
    /// Aliases, sorted. With known users: of members with neither of the other two.
    pub aliases: Vec<Alias>,
    /// The last 1,000 changes whose identifier matched no known user, the newest first.
    pub unmatched: Vec<Applied>,
    /// The last 100 changes, the newest first.
    pub changes: Vec<Applied>,
}

/// All cohorts.
pub struct Store {
    /// If `None`, every identifier is a user.
    pub known: Option<KnownUsers>,
    cohorts: BTreeMap<String, Cohort>,
}

#[derive(Default)]
struct Cohort {
    name: Option<String>,
    partner: String,
    created_at: Option<String>,
    /// For each kind, the request that made each identifier a member. With known users, each user occurs once, under
    /// the identifier that represents it.
    members: [BTreeMap<Identifier, u64>; 3],
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
    pub fn name(&mut self, partner: &str, naming: Naming) {
        let cohort = self.cohorts.entry(naming.cohort_id).or_default();
        partner.clone_into(&mut cohort.partner);
        (cohort.name, cohort.created_at) = (Some(naming.name), Some(naming.created_at));
    }

    /// Applies all changes of a request in order. A new cohort has no name.
    pub fn apply(&mut self, partner: &str, request: u64, users: Users) {
        let cohort = self.cohorts.entry(users.cohort_id).or_default();
        partner.clone_into(&mut cohort.partner);
        for (operation, identifier) in users.changes {
            let found = self.known.as_ref().map_or(Ok(&identifier), |known| known.find(&identifier));
            let effect = match found {
                Ok(member) => cohort.change(operation, member, request),
                Err(reason) => {
                    cohort.unknown += u64::from(operation == Operation::Add);
                    reason
                }
            };
            let is_unmatched = found.is_err();
            let applied = Applied { request, operation, identifier, effect };
            if is_unmatched {
                keep(&mut cohort.unmatched, applied.clone(), RECENT_UNMATCHED);
            }
            keep(&mut cohort.changes, applied, RECENT_CHANGES);
        }
    }

    /// The cohort with this ID, with a page of each of its lists.
    pub fn cohort(&self, id: &str, page: Page) -> Option<CohortView> {
        let (id, cohort) = self.cohorts.get_key_value(id)?;
        let [user_ids, device_ids, aliases] = &cohort.members;
        let texts = |members: &BTreeMap<Identifier, u64>| {
            page.of(members.keys()).map(|member| member.identifier.clone()).collect::<Vec<_>>()
        };
        Some(CohortView {
            cohort_id: id.clone(),
            name: cohort.name.clone(),
            partner: cohort.partner.clone(),
            created_at: cohort.created_at.clone(),
            members: cohort.len(),
            unknown: cohort.unknown,
            totals: BTreeMap::from([
                ("user_ids", user_ids.len()),
                ("device_ids", device_ids.len()),
                ("aliases", aliases.len()),
                ("unmatched", cohort.unmatched.len()),
                ("changes", cohort.changes.len()),
            ]),
            user_ids: texts(user_ids),
            device_ids: texts(device_ids),
            aliases: page.of(aliases.keys()).map(Alias::from).collect(),
            unmatched: page.of(cohort.unmatched.iter()).cloned().collect(),
            changes: page.of(cohort.changes.iter()).cloned().collect(),
        })
    }

    /// The number of cohorts, and a page of them by ID, without members.
    pub fn cohorts(&self, page: Page) -> Value {
        let summary = |(id, cohort): (&String, &Cohort)| {
            json!({
                "cohort_id": id,
                "name": cohort.name,
                "partner": cohort.partner,
                "members": cohort.len(),
                "unknown": cohort.unknown,
            })
        };
        json!({ "total": self.cohorts.len(), "cohorts": page.of(self.cohorts.iter()).map(summary).collect::<Value>() })
    }

    /// What is known about an identifier of any kind and label: its memberships with the member that represents its
    /// user, and its kept changes that matched no user.
    pub fn search(&self, text: &str) -> Value {
        let (mut cohorts, mut unmatched) = (Vec::new(), Vec::new());
        for (id, cohort) in &self.cohorts {
            let found = |identifier: &Identifier, member: &Identifier| {
                let since = cohort.members[member.kind as usize].get(member)?;
                let mut found = json!(identifier);
                found["cohort_id"] = json!(id);
                found["name"] = json!(cohort.name);
                found["member"] = json!(member);
                found["since_request"] = json!(since);
                Some(found)
            };
            let own = cohort.members.iter().flat_map(BTreeMap::keys).filter(|member| member.identifier == text);
            match &self.known {
                Some(known) => {
                    cohorts.extend(known.with_text(text).filter_map(|(as_sent, member)| found(as_sent, member)));
                }
                None => cohorts.extend(own.filter_map(|member| found(member, member))),
            }
            for change in cohort.unmatched.iter().filter(|change| change.identifier.identifier == text) {
                let mut change = json!(change);
                change["cohort_id"] = json!(id);
                unmatched.push(change);
            }
        }
        json!({ "identifier": text, "cohorts": cohorts, "unmatched": unmatched })
    }
}

impl Cohort {
    fn len(&self) -> usize {
        self.members.iter().map(BTreeMap::len).sum()
    }

    fn change(&mut self, operation: Operation, member: &Identifier, request: u64) -> Effect {
        let members = &mut self.members[member.kind as usize];
        match operation {
            Operation::Add if members.contains_key(member) => Effect::AlreadyMember,
            Operation::Add => {
                members.insert(member.clone(), request);
                Effect::Added
            }
            Operation::Remove => members.remove(member).map_or(Effect::NotMember, |_| Effect::Removed),
        }
    }
}

#[cfg(test)]
mod tests;

//! Identifiers, and a map from them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

/// One identifier, by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifier<S> {
    ExternalId(S),
    DeviceId(S),
    Alias { label: S, name: S },
}

/// An identifier as JSON, by the names of Braze's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its list in a request.
    pub kind: &'static str,
    /// Of an alias only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_label: Option<String>,
    /// The ID, or the alias name.
    pub identifier: String,
}

impl Identifier<&str> {
    /// As JSON; `text` may shorten each text.
    pub fn named(self, text: impl Fn(&str) -> String) -> Named {
        let (kind, label, identifier) = match self {
            Self::ExternalId(id) => ("user_ids", None, id),
            Self::DeviceId(id) => ("device_ids", None, id),
            Self::Alias { label, name } => ("aliases", Some(label), name),
        };
        Named { kind, alias_label: label.map(&text), identifier: text(identifier) }
    }
}

impl Identifier<String> {
    /// The same, borrowed.
    pub fn borrowed(&self) -> Identifier<&str> {
        match self {
            Self::ExternalId(id) => Identifier::ExternalId(id),
            Self::DeviceId(id) => Identifier::DeviceId(id),
            Self::Alias { label, name } => Identifier::Alias { label, name },
        }
    }
}

/// Values by identifier. Each list keeps the order of arrival, except that the last key replaces a removed one.
/// So finding a page takes the same time for a list of any length.
#[derive(Debug, Default)]
pub struct IdentifierMap<V> {
    pub external_ids: IndexMap<String, V>,
    pub device_ids: IndexMap<String, V>,
    /// By label, then by name.
    pub aliases: BTreeMap<String, IndexMap<String, V>>,
}

impl<V> IdentifierMap<V> {
    /// The identifier's value.
    pub fn get(&self, identifier: Identifier<&str>) -> Option<&V> {
        match identifier {
            Identifier::ExternalId(id) => self.external_ids.get(id),
            Identifier::DeviceId(id) => self.device_ids.get(id),
            Identifier::Alias { label, name } => self.aliases.get(label)?.get(name),
        }
    }

    /// Gives the identifier a value unless it has one; returns whether it had none.
    pub fn insert_new(&mut self, identifier: Identifier<&str>, value: V) -> bool {
        let (list, text) = match identifier {
            Identifier::ExternalId(id) => (&mut self.external_ids, id),
            Identifier::DeviceId(id) => (&mut self.device_ids, id),
            Identifier::Alias { label, name } => (self.aliases.entry(label.to_owned()).or_default(), name),
        };
        !list.contains_key(text) && list.insert(text.to_owned(), value).is_none()
    }

    /// Removes the identifier; returns whether it was there.
    pub fn remove(&mut self, identifier: Identifier<&str>) -> bool {
        let removed = match identifier {
            Identifier::ExternalId(id) => self.external_ids.swap_remove(id),
            Identifier::DeviceId(id) => self.device_ids.swap_remove(id),
            Identifier::Alias { label, name } => self.aliases.get_mut(label).and_then(|names| names.swap_remove(name)),
        };
        removed.is_some()
    }

    /// How many aliases there are, of all labels.
    pub fn alias_count(&self) -> usize {
        self.aliases.values().map(IndexMap::len).sum()
    }

    /// How many identifiers there are.
    pub fn len(&self) -> usize {
        self.external_ids.len() + self.device_ids.len() + self.alias_count()
    }

    /// All identifiers with this text, of any kind and label.
    pub fn with_text<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Identifier<&'a str>, &'a V)> {
        let ids = [Identifier::ExternalId(text), Identifier::DeviceId(text)];
        let aliases = self.aliases.keys().map(move |label| Identifier::Alias { label: label.as_str(), name: text });
        ids.into_iter().chain(aliases).filter_map(|identifier| Some((identifier, self.get(identifier)?)))
    }
}

//! The known users of the sandbox, and their identifiers.

use std::collections::HashMap;
use std::io::Read;

use super::identifiers::{Identifier, IdentifierMap};
use super::store::Effect;

/// A known user.
pub struct Profile<'a> {
    /// In the order of the file.
    pub number: usize,
    pub external_id: Option<&'a str>,
    /// Labels and names.
    pub aliases: Vec<(&'a str, &'a str)>,
}

/// All users. As in Braze, an identified user (one with an external ID) is found by it and by its aliases, but not by
/// device ID; an anonymous one by device ID and by its aliases.
#[derive(Default)]
pub struct KnownUsers {
    /// The first identifier of each user, which represents it.
    users: Vec<Identifier<String>>,
    owners: IdentifierMap<usize>,
    /// Device IDs of identified users, and their users.
    of_identified: HashMap<String, usize>,
}

impl KnownUsers {
    /// Reads CSV with a header and a user in each row. Empty cells are ignored. Rows with the same external ID are one user; any
    /// other identifier belongs to the first user that has it.
    ///
    /// # Errors
    /// It cannot be read or is not UTF-8, or the cells of a row do not match the header.
    pub fn read(input: impl Read) -> Result<Self, csv::Error> {
        let mut reader = csv::Reader::from_reader(input);
        let header = reader.headers()?.clone();
        let mut known = Self::default();
        let mut taken: usize = 0;
        for row in reader.into_records() {
            let row = row?;
            taken += known.add(header.iter().zip(&row).filter(|(_, cell)| !cell.is_empty()));
        }
        let anonymous = known.users.len() - known.owners.external_ids.len();
        log::info!("{} known users, {anonymous} of them anonymous", known.users.len());
        if taken > 0 {
            log::warn!("{taken} device IDs or aliases of known users already belong to another user");
        }
        Ok(known)
    }

    /// The identifier that represents the user of this one, or why there is no user.
    pub fn find(&self, identifier: Identifier<&str>) -> Result<Identifier<&str>, Effect> {
        let user = self.owners.get(identifier).and_then(|user| self.users.get(*user));
        user.map(Identifier::borrowed).ok_or_else(|| match identifier {
            Identifier::DeviceId(id) if self.of_identified.contains_key(id) => Effect::DeviceOfIdentified,
            _ => Effect::NoSuchUser,
        })
    }

    /// All known identifiers with this text, and those that represent their users.
    pub fn with_text<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Identifier<&'a str>, Identifier<&'a str>)> {
        let user = |user: &usize| self.users.get(*user).map(Identifier::borrowed);
        self.owners.with_text(text).filter_map(move |(identifier, owner)| Some((identifier, user(owner)?)))
    }

    /// Adds one row; returns how many of its identifiers already belong to another user.
    fn add<'a>(&mut self, cells: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
        let mut identifiers: Vec<_> = cells.map(|(column, cell)| identifier(column, cell)).collect();
        // A user is represented by its external ID, else its device ID, else its first alias.
        identifiers.sort_by_key(|identifier| match identifier {
            Identifier::ExternalId(_) => 0,
            Identifier::DeviceId(_) => 1,
            Identifier::Alias { .. } => 2,
        });
        let is_identified = matches!(identifiers.first(), Some(Identifier::ExternalId(_)));
        let (mut user, mut taken) = (self.users.len(), 0);
        for identifier in identifiers {
            if is_identified && let Identifier::DeviceId(id) = identifier {
                self.of_identified.entry(id).or_insert(user);
                continue;
            }
            let owner = self.claim(&identifier, user);
            if matches!(identifier, Identifier::ExternalId(_)) {
                user = owner;
            }
            if owner != user {
                taken += 1;
            } else if user == self.users.len() {
                self.users.push(identifier);
            }
        }
        taken
    }

    /// The user of this identifier. Here a device ID also finds identified users.
    pub fn profile(&self, identifier: Identifier<&str>) -> Option<Profile<'_>> {
        let number = *self.owners.get(identifier).or_else(|| match identifier {
            Identifier::DeviceId(id) => self.of_identified.get(id),
            Identifier::ExternalId(_) | Identifier::Alias { .. } => None,
        })?;
        let external_id = match self.users.get(number)? {
            Identifier::ExternalId(id) => Some(id.as_str()),
            Identifier::DeviceId(_) | Identifier::Alias { .. } => None,
        };
        let aliases = self.owners.aliases.iter().flat_map(|(label, names)| {
            let own = names.iter().filter(move |(_, owner)| **owner == number);
            own.map(move |(name, _)| (label.as_str(), name.as_str()))
        });
        Some(Profile { number, external_id, aliases: aliases.collect() })
    }

    /// Gives the identifier to the user, unless it has another one; returns its user.
    fn claim(&mut self, identifier: &Identifier<String>, user: usize) -> usize {
        let identifier = identifier.borrowed();
        self.owners.insert_new(identifier, user);
        self.owners.get(identifier).copied().unwrap_or(user)
    }
}

fn identifier(column: &str, cell: &str) -> Identifier<String> {
    let cell = cell.to_owned();
    match column {
        "external_id" => Identifier::ExternalId(cell),
        "device_id" => Identifier::DeviceId(cell),
        label => Identifier::Alias { label: label.to_owned(), name: cell },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> KnownUsers {
        let rows = "\u{feff}email,external_id,device_id\r\n\
            ann@example.com,ann,phone-1\r\n\
            ann@example.org,ann,\r\n\
            bob@example.com,,phone-1\r\n\
            ann@example.com,,\r\n\
            ,,\r\n\
            dan@example.com,,phone-1\r\n";
        KnownUsers::read(rows.as_bytes()).unwrap()
    }

    #[test]
    fn users_are_found_by_what_belongs_to_them() {
        use Identifier::{Alias, DeviceId, ExternalId};
        let email = |name| Alias { label: "email", name };
        for (identifier, expected) in [
            (ExternalId("ann"), Some(ExternalId("ann"))),
            (email("ann@example.com"), Some(ExternalId("ann"))),
            (email("ann@example.org"), Some(ExternalId("ann"))),
            (DeviceId("phone-1"), Some(DeviceId("phone-1"))),
            (email("bob@example.com"), Some(DeviceId("phone-1"))),
            (email("dan@example.com"), Some(email("dan@example.com"))),
            (email("eve@example.com"), None),
            (Alias { label: "phone", name: "ann@example.com" }, None),
            (ExternalId(""), None),
            (email(""), None),
        ] {
            assert_eq!(known().find(identifier).ok(), expected, "{identifier:?}");
        }
        assert_eq!(known().users.len(), 3);
    }

    #[test]
    fn a_broken_file_is_an_error() {
        assert!(KnownUsers::read("external_id,device_id\na\n".as_bytes()).is_err());
        assert!(KnownUsers::read(&b"external_id\n\xff\n"[..]).is_err());
        assert!(KnownUsers::read(&b""[..]).is_ok());
    }
}

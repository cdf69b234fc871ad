//! The users that the sandbox knows, where it knows any: who is found by which identifier.

use std::collections::HashSet;
use std::io::Read;

use super::identifiers::{Identifier, IdentifierMap};
use super::store::Effect;

/// All users. As in Braze, an identified user (one with an external ID) is found by it and by its aliases, but not by
/// device ID; an anonymous one by device ID and by its aliases.
#[derive(Default)]
pub struct KnownUsers {
    /// The first identifier by which each user is found; it stands for the user.
    users: Vec<Identifier<String>>,
    owners: IdentifierMap<usize>,
    /// Device IDs of identified users.
    of_identified: HashSet<String>,
}

impl KnownUsers {
    /// Reads one user a row, as CSV with a header. Empty cells are no identifiers. Rows with the same external ID are one
    /// user; any other identifier belongs to the first user that has it.
    ///
    /// # Errors
    /// It cannot be read, is not UTF-8, or a row has not as many cells as the header.
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

    /// Who is found by this identifier: the one that stands for the user, or why there is none.
    pub fn find(&self, identifier: Identifier<&str>) -> Result<Identifier<&str>, Effect> {
        let user = self.owners.get(identifier).and_then(|user| self.users.get(*user));
        user.map(Identifier::borrowed).ok_or_else(|| match identifier {
            Identifier::DeviceId(id) if self.of_identified.contains(id) => Effect::DeviceOfIdentified,
            _ => Effect::NoSuchUser,
        })
    }

    /// All identifiers with this text that find somebody, and who stands for the user.
    pub fn with_text<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Identifier<&'a str>, Identifier<&'a str>)> {
        let user = |user: &usize| self.users.get(*user).map(Identifier::borrowed);
        self.owners.with_text(text).filter_map(move |(identifier, owner)| Some((identifier, user(owner)?)))
    }

    /// Adds one row; returns how many of its identifiers already belong to another user.
    fn add<'a>(&mut self, cells: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
        let mut identifiers: Vec<_> = cells.map(|(column, cell)| identifier(column, cell)).collect();
        // What stands for a user: its external ID, else its device ID, else its first alias.
        identifiers.sort_by_key(|identifier| match identifier {
            Identifier::ExternalId(_) => 0,
            Identifier::DeviceId(_) => 1,
            Identifier::Alias { .. } => 2,
        });
        let identified = matches!(identifiers.first(), Some(Identifier::ExternalId(_)));
        if identified {
            identifiers.retain(|identifier| match identifier {
                Identifier::DeviceId(id) => {
                    self.of_identified.insert(id.clone());
                    false
                }
                _ => true,
            });
        }
        let mut user = self.users.len();
        let mut taken = 0;
        for identifier in identifiers {
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

    /// Makes the identifier the user's, unless it belongs to someone; returns whose it is.
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

//! The users that the sandbox knows, where it knows any: who is found by which identifier.

use std::collections::HashMap;
use std::io::Read;

use super::store::Identifier;

/// What is known of a user.
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
    /// The first identifier by which each user is found; it stands for the user.
    users: Vec<Identifier<String>>,
    external_ids: HashMap<String, usize>,
    device_ids: HashMap<String, usize>,
    /// Devices of identified users, by which nobody is found.
    identified_device_ids: HashMap<String, usize>,
    aliases: HashMap<String, HashMap<String, usize>>,
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
        let anonymous = known.users.len() - known.external_ids.len();
        log::info!("{} known users, {anonymous} of them anonymous", known.users.len());
        if taken > 0 {
            log::warn!("{taken} device IDs or aliases of known users already belong to another user");
        }
        Ok(known)
    }

    /// Who is found by this identifier: the one that stands for the user.
    pub fn find(&self, identifier: Identifier<&str>) -> Option<Identifier<&str>> {
        let user = match identifier {
            Identifier::ExternalId(id) => self.external_ids.get(id),
            Identifier::DeviceId(id) => self.device_ids.get(id),
            Identifier::Alias { label, name } => self.aliases.get(label)?.get(name),
        };
        self.users.get(*user?).map(Identifier::borrowed)
    }

    /// Adds one row; returns how many of its identifiers already belong to another user.
    fn add<'a>(&mut self, cells: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
        let mut identifiers: Vec<_> = cells.map(|(column, cell)| identifier(column, cell)).collect();
        identifiers.sort_by_key(precedence);
        let identified = matches!(identifiers.first(), Some(Identifier::ExternalId(_)));
        let mut devices = Vec::new();
        if identified {
            let is_device = |identifier: &mut Identifier<String>| matches!(identifier, Identifier::DeviceId(_));
            devices.extend(identifiers.extract_if(.., is_device));
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
        for device in devices {
            if let Identifier::DeviceId(id) = device {
                self.identified_device_ids.entry(id).or_insert(user);
            }
        }
        taken
    }

    /// What is known of whoever has this identifier. Here identified users are found by their device as well.
    pub fn profile(&self, identifier: Identifier<&str>) -> Option<Profile<'_>> {
        let user = match identifier {
            Identifier::ExternalId(id) => self.external_ids.get(id),
            Identifier::DeviceId(id) => self.device_ids.get(id).or_else(|| self.identified_device_ids.get(id)),
            Identifier::Alias { label, name } => self.aliases.get(label)?.get(name),
        };
        let user = *user?;
        let external_id = match self.users.get(user)? {
            Identifier::ExternalId(id) => Some(id.as_str()),
            Identifier::DeviceId(_) | Identifier::Alias { .. } => None,
        };
        let aliases = self.aliases.iter().flat_map(|(label, names)| {
            names.iter().filter(move |(_, owner)| **owner == user).map(move |(name, _)| (label.as_str(), name.as_str()))
        });
        Some(Profile { number: user, external_id, aliases: aliases.collect() })
    }

    /// Makes the identifier the user's, unless it belongs to someone; returns whose it is.
    fn claim(&mut self, identifier: &Identifier<String>, user: usize) -> usize {
        let (owners, key) = match identifier {
            Identifier::ExternalId(id) => (&mut self.external_ids, id),
            Identifier::DeviceId(id) => (&mut self.device_ids, id),
            Identifier::Alias { label, name } => (self.aliases.entry(label.clone()).or_default(), name),
        };
        *owners.entry(key.clone()).or_insert(user)
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

/// What stands for a user: its external ID, else its device ID, else its first alias.
fn precedence(identifier: &Identifier<String>) -> u8 {
    match identifier {
        Identifier::ExternalId(_) => 0,
        Identifier::DeviceId(_) => 1,
        Identifier::Alias { .. } => 2,
    }
}

impl Identifier<String> {
    fn borrowed(&self) -> Identifier<&str> {
        match self {
            Self::ExternalId(id) => Identifier::ExternalId(id),
            Self::DeviceId(id) => Identifier::DeviceId(id),
            Self::Alias { label, name } => Identifier::Alias { label, name },
        }
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
            assert_eq!(known().find(identifier), expected, "{identifier:?}");
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

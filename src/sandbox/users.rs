//! The known users of the sandbox, and their identifiers.

use std::collections::HashMap;
use std::io::Read;

use super::store::{Effect, Identifier, Kind};

/// All users. As in Braze, an identified user (one with an external ID) is found by that ID and by aliases, but not by
/// device ID. An anonymous one is found by device ID and by aliases.
#[derive(Default)]
pub struct KnownUsers {
    /// The identifiers of each user. The first one represents it: its external ID, else its device ID, else its first
    /// alias.
    users: Vec<Vec<Identifier>>,
    owners: HashMap<Identifier, usize>,
}

impl KnownUsers {
    /// Reads CSV with a header and a user in each row. Empty cells are ignored. Rows with the same external ID are one
    /// user. Any other identifier belongs to the first user that has it.
    ///
    /// # Errors
    /// It cannot be read or is not UTF-8, or the cells of a row do not match the header.
    pub fn read(input: impl Read) -> Result<Self, csv::Error> {
        let mut reader = csv::Reader::from_reader(input);
        let header = reader.headers()?.clone();
        let mut known = Self::default();
        for row in reader.into_records() {
            known.add(header.iter().zip(&row?).filter(|(_, cell)| !cell.is_empty()));
        }
        log::info!("{} known users", known.users.len());
        Ok(known)
    }

    /// The identifier that represents the user of this one, or why a cohort finds no user by it.
    pub fn find(&self, identifier: &Identifier) -> Result<&Identifier, Effect> {
        match self.user(identifier).and_then(|(_, user)| user.first()) {
            Some(first) if first.kind == Kind::UserIds && identifier.kind == Kind::DeviceIds => {
                Err(Effect::DeviceOfIdentified)
            }
            found => found.ok_or(Effect::NoSuchUser),
        }
    }

    /// The number and the identifiers of the user with this identifier.
    pub fn user(&self, identifier: &Identifier) -> Option<(usize, &[Identifier])> {
        let number = *self.owners.get(identifier)?;
        Some((number, self.users.get(number)?))
    }

    /// All identifiers with this text by which a cohort finds a user, and those that represent their users.
    pub fn with_text(&self, text: &str) -> impl Iterator<Item = (&Identifier, &Identifier)> {
        let found = self.users.iter().flatten().filter(move |identifier| identifier.identifier == text);
        found.filter_map(|identifier| Some((identifier, self.find(identifier).ok()?)))
    }

    fn add<'a>(&mut self, cells: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut identifiers: Vec<_> = cells.map(|(column, cell)| identifier(column, cell)).collect();
        identifiers.sort_by_key(|identifier| identifier.kind);
        let Some(first) = identifiers.first() else { return };
        let known = self.owners.get(first).filter(|_| first.kind == Kind::UserIds).copied();
        let number = known.unwrap_or(self.users.len());
        let free: Vec<_> = identifiers.into_iter().filter(|identifier| !self.owners.contains_key(identifier)).collect();
        self.owners.extend(free.iter().map(|identifier| (identifier.clone(), number)));
        match self.users.get_mut(number) {
            Some(user) => user.extend(free),
            None if !free.is_empty() => self.users.push(free),
            None => {}
        }
    }
}

fn identifier(column: &str, cell: &str) -> Identifier {
    let cell = cell.to_owned();
    match column {
        "external_id" => Identifier::external_id(cell),
        "device_id" => Identifier::device_id(cell),
        label => Identifier { kind: Kind::Aliases, alias_label: Some(label.to_owned()), identifier: cell },
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::Alias;
    use super::*;

    fn known() -> KnownUsers {
        let rows = "\u{feff}email,external_id,device_id\r\n\
            ann@example.com,ann,phone-1\r\n\
            ann@example.org,ann,\r\n\
            bob@example.com,,phone-2\r\n\
            ann@example.com,,\r\n\
            ,,\r\n\
            dan@example.com,,phone-1\r\n";
        KnownUsers::read(rows.as_bytes()).unwrap()
    }

    #[test]
    fn users_are_found_by_what_belongs_to_them() {
        let text = |text: &str| text.to_owned();
        let (external_id, device_id) = (|id| Identifier::external_id(text(id)), |id| Identifier::device_id(text(id)));
        let email = |name| Identifier::from(Alias { alias_label: text("email"), alias_name: text(name) });
        for (identifier, expected) in [
            (external_id("ann"), Ok(external_id("ann"))),
            (email("ann@example.com"), Ok(external_id("ann"))),
            (email("ann@example.org"), Ok(external_id("ann"))),
            (device_id("phone-1"), Err(Effect::DeviceOfIdentified)),
            (device_id("phone-2"), Ok(device_id("phone-2"))),
            (email("bob@example.com"), Ok(device_id("phone-2"))),
            (email("dan@example.com"), Ok(email("dan@example.com"))),
            (email("eve@example.com"), Err(Effect::NoSuchUser)),
            (
                Identifier::from(Alias { alias_label: text("phone"), alias_name: text("ann@example.com") }),
                Err(Effect::NoSuchUser),
            ),
            (external_id(""), Err(Effect::NoSuchUser)),
            (email(""), Err(Effect::NoSuchUser)),
        ] {
            assert_eq!(known().find(&identifier), expected.as_ref().map_err(|effect| *effect), "{identifier:?}");
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

//! The tables of the state, as Treasure Data lists them.

use std::hash::{DefaultHasher, Hash, Hasher};

use log::info;

use super::TreasureData;
use crate::mirror::error::MirrorError;
use crate::mirror::state::Found;
use crate::mirror::warehouse::{Listing, Name, Table};
use crate::retry::Stopped;
use crate::treasure_data::JobError;
use crate::treasure_data::tables::{ListedTable, RenameOutcome};

impl<S: From<JobError> + From<MirrorError>> TreasureData<'_, S> {
    /// Takes over the state of another data import key: its highest version becomes ours, the others are deleted. It
    /// gets a higher number, so that a run with the other key that is at work finds a version above its own.
    fn adopt(&self, mut others: Vec<OtherVersion>) -> Result<Vec<Table>, Stopped> {
        others.sort_by_key(|other| other.number);
        let Some(highest) = others.pop() else { return Ok(Vec::new()) };
        let name = Name::Version(highest.number + 2);
        let ours = self.state.table(&name);
        info!("the state of another data import key becomes this one's: {} is renamed to {ours}", highest.table);
        if self.api.rename(&self.state.database, &highest.table, &ours)? != RenameOutcome::Done {
            return Err(self.cannot("Treasure Data did not say that the state's table was renamed"));
        }
        for other in &others {
            self.api.delete(&self.state.database, &other.table)?;
        }
        // Not listed again, because the list may be stale.
        Ok(vec![Table { name, id: highest.id }])
    }

    pub(super) fn listed(&self) -> Result<Listing, Stopped> {
        let asked = self.elapsed();
        let mut listing = Listing { asked, ..Listing::default() };
        let mut others = Vec::new();
        let now = self.began + asked.as_secs();
        for table in self.api.list(&self.state.database)? {
            let id = number_of(&table);
            match self.state.find(&table.name, now) {
                Found::Ours(name @ Name::Version(_)) => listing.versions.push(Table { name, id }),
                Found::Ours(name @ Name::Work(_)) => listing.leftovers.push(Table { name, id }),
                Found::OtherKey { fingerprint, number } => {
                    others.push(OtherVersion { fingerprint, number, table: table.name, id });
                }
                Found::Nothing => {}
            }
        }
        // Lower numbers are left of before an adoption. Others show that another key has gone on from ours, or beside it.
        let ours = listing.highest().and_then(Table::number);
        others.retain(|other| Some(other.number) >= ours);
        if others.is_empty() {
            return Ok(listing);
        }
        let is_one = others.iter().all(|other| other.fingerprint == others[0].fingerprint);
        match (is_one, self.key_rotated) {
            (true, true) if self.is_dry => {
                Err(self.stop(MirrorError::OtherKeyInDryRun { table: others[0].table.clone() }))
            }
            (true, true) => {
                listing.versions.extend(self.adopt(others)?);
                Ok(listing)
            }
            (true, false) => Err(self.stop(MirrorError::OtherKey { table: others[0].table.clone() })),
            (false, _) => {
                let tables = others.into_iter().map(|other| other.table).collect();
                Err(self.stop(MirrorError::OtherKeys { tables }))
            }
        }
    }
}

/// A table's ID as a number, or its hash if it is none.
pub(super) fn number_of(table: &ListedTable) -> u64 {
    table.id.parse().unwrap_or_else(|_| {
        let mut hasher = DefaultHasher::new();
        table.id.hash(&mut hasher);
        hasher.finish()
    })
}

/// A version of the state of another data import key.
struct OtherVersion {
    fingerprint: String,
    number: u64,
    table: String,
    id: u64,
}

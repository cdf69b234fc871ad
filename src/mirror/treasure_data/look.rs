//! What `check` asks: the progress of the state, and whether the account behaves as the protocol requires.

use super::{STALE, TRIES, TreasureData};
use crate::mirror::error::{Fact, MirrorError};
use crate::retry::Stopped;
use crate::treasure_data::JobError;
use crate::treasure_data::show::{JobInfo, Status};
use crate::treasure_data::tables::{ListedTable, RenameOutcome};

/// The progress of a state, in identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStatus {
    /// The highest version. Odd while a run is at work, or if it did not finish.
    pub version: u64,
    /// When changes were last committed, in seconds since 1970; 0 for never.
    pub committed: u64,
    /// Identifiers that should be in the cohort.
    pub wanted: u64,
    /// Identifiers that are still to be removed.
    pub to_remove: u64,
    /// Wanted identifiers that are not known to be in the cohort.
    pub to_add: u64,
}

impl<S: From<JobError> + From<MirrorError>> TreasureData<'_, S> {
    /// The progress of the state; none before the first run.
    pub fn status(&mut self) -> Result<Option<StateStatus>, Box<S>> {
        let result = self.try_status();
        self.told(result)
    }

    fn try_status(&mut self) -> Result<Option<StateStatus>, Stopped> {
        let listing = self.listed()?;
        let Some((version, name)) = listing.highest().and_then(|table| Some((table.number()?, &table.name))) else {
            return Ok(None);
        };
        let statement = self.statements.status(&self.place(name));
        let mut status = StateStatus { version, ..StateStatus::default() };
        self.rows("count how far the state is", &statement, |this, [name, number]| {
            let number = this.number(number)?;
            match name {
                "committed" => status.committed = number,
                "wanted" => status.wanted = number,
                "to_remove" => status.to_remove = number,
                "to_add" => status.to_add = number,
                other => return Err(this.cannot(&format!("unknown count '{other}'"))),
            }
            Ok(())
        })?;
        Ok(Some(status))
    }

    /// Tries what the protocol relies on, with a job, and two tables that are deleted again.
    pub fn facts(&mut self) -> Result<[(Fact, bool); 5], Box<S>> {
        let result = self.try_all();
        self.told(result)
    }

    fn try_all(&mut self) -> Result<[(Fact, bool); 5], Stopped> {
        let database = self.state.database.clone();
        let [one, other] = ["a", "b"].map(|end| self.state.work(self.began, &format!("{}_{end}", self.unique)));
        for table in [&one, &other] {
            self.api.create(&database, table)?;
        }
        let renamed = self.api.rename(&database, &one, &other)?;
        if renamed == RenameOutcome::Unknown {
            return Err(self.cannot("Treasure Data did not answer whether a table was renamed"));
        }
        let shows =
            |tables: &[ListedTable]| [&one, &other].iter().all(|name| tables.iter().any(|table| table.name == **name));
        let mut is_shown = shows(&self.api.list(&database)?);
        if !is_shown && renamed == RenameOutcome::Refused {
            self.pause(STALE)?;
            is_shown = shows(&self.api.list(&database)?);
        }
        let mut are_deleted = true;
        for table in [&one, &other] {
            are_deleted &= self.api.delete(&database, table)?;
        }
        let (statement, mut tries) = ("SELECT to_base(1, 10)", 1);
        let (first, key, status) = loop {
            let key = self.domain_key(self.issued.len());
            let (job, JobInfo { status, .. }) = self.run("try what a mirror needs", statement)?;
            if status == Status::Success || tries == TRIES {
                break (job, key, status);
            }
            tries += 1;
        };
        let second = self.api.issue(&database, statement, &key)?;
        Ok([
            (Fact::Tables, are_deleted),
            (Fact::Rename, renamed == RenameOutcome::Refused),
            (Fact::List, is_shown),
            (Fact::DomainKey, second.id == first.id),
            (Fact::ToBase, status == Status::Success),
        ])
    }
}

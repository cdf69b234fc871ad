//! A small Braze and a small warehouse: three identifiers, two users, and time in ticks.

use super::{Contract, breaks};

/// A set of identifiers, one bit each.
pub type Ids = u8;
/// A set of rows. Bit `m` is the row whose identifiers are `m`.
pub type Rows = u8;

pub const A: Ids = 1;
pub const B: Ids = 2;
pub const C: Ids = 4;

/// A set of rows, each a set of identifiers.
pub const fn rows(list: &[Ids]) -> Rows {
    let (mut set, mut at) = (0, 0);
    while at < list.len() {
        set |= 1 << list[at];
        at += 1;
    }
    set
}

fn each(rows: Rows) -> impl Iterator<Item = Ids> {
    (1..8).filter(move |row| rows & 1 << row != 0)
}

pub fn ids(rows: Rows) -> Ids {
    each(rows).fold(0, |all, row| all | row)
}

fn where_rows(rows: Rows, keep: impl Fn(Ids) -> bool) -> Rows {
    each(rows).filter(|row| keep(*row)).fold(0, |kept, row| kept | 1 << row)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The rows of the members' table.
    pub wanted_rows: Rows,
    /// Its rows before.
    pub gone: Rows,
    pub confirmed: Ids,
    /// What a run adds if this table is its odd version.
    pub additions: Ids,
    /// Whether a row has come or gone.
    pub is_changed: bool,
}

impl State {
    /// The state when everything is done.
    pub fn of(table: Rows) -> Self {
        Self { wanted_rows: table, confirmed: ids(table), ..Self::default() }
    }

    pub fn rows(self) -> Rows {
        self.wanted_rows | self.gone
    }

    pub fn removals(self) -> Ids {
        ids(self.gone) & !ids(self.wanted_rows)
    }

    /// The result of job 1.
    pub fn next_odd(top: Option<Self>, table: Rows, due: Ids) -> Self {
        let top = top.unwrap_or_default();
        let (rows, wanted) = (top.rows(), ids(table));
        let (gone, new) = (rows & !table, table & !rows);
        let removed = ids(gone) & !wanted;
        let beside = ids(where_rows(gone, |row| row & removed != 0)) & wanted;
        let stays = if breaks(Contract::RemovedStaysUntilDone) { 0 } else { gone };
        let mut unsure = ids(gone) | ids(new);
        let mut additions = wanted & (!top.confirmed | due | beside);
        if breaks(Contract::RowMatesAreUnconfirmed) {
            unsure &= !wanted;
            additions = wanted & (!top.confirmed | due);
        }
        if breaks(Contract::RemovedIsUnconfirmed) {
            unsure &= !removed;
        }
        Self {
            wanted_rows: table,
            gone: stays,
            confirmed: top.confirmed & !unsure,
            additions,
            is_changed: gone != 0 || new != 0,
        }
    }

    /// The result of job 3.
    pub fn next_even(self, refused_removals: Ids, refused_additions: Ids) -> Self {
        let stays = if breaks(Contract::RefusedRemovalStays) { 0 } else { refused_removals };
        let gone = where_rows(self.gone, |row| row & stays != 0);
        let confirmed = ids(self.wanted_rows) & !refused_additions & !ids(gone);
        Self { wanted_rows: self.wanted_rows, gone, confirmed, ..Self::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Version(u8),
    Work(u8),
}

/// An action whose answer was lost, and which may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Late {
    /// Until this tick.
    Request {
        is_add: bool,
        id: Ids,
        until: u32,
    },
    Rename {
        from: Key,
        to: u8,
    },
    Delete(Key),
}

#[derive(Clone, Debug)]
pub struct World {
    /// The user of each identifier that Braze knows.
    pub users: [Option<u8>; 3],
    pub now: u32,
    /// The members' table, and what it becomes.
    pub table: Rows,
    pub next_table: Option<Rows>,
    /// Name, ID and content, sorted by name.
    pub tables: Vec<(Key, u8, State)>,
    /// What lists showed, each until a tick.
    pub past: Vec<(u32, Vec<(u8, u8)>)>,
    pub late: Vec<Late>,
    /// Identifiers that the next run that reads the table sends again.
    pub due: Ids,
    /// The users in it.
    pub cohort: u8,
    /// How many more things may go wrong.
    pub faults: u8,
}

impl World {
    pub fn versions(&self) -> Vec<(u8, u8)> {
        let version = |(key, id, _): &(Key, u8, State)| match key {
            Key::Version(number) => Some((*number, *id)),
            Key::Work(_) => None,
        };
        self.tables.iter().filter_map(version).collect()
    }

    pub fn top(&self) -> Option<(u8, State)> {
        let version = |(key, _, state): &(Key, u8, State)| match key {
            Key::Version(number) => Some((*number, *state)),
            Key::Work(_) => None,
        };
        self.tables.iter().filter_map(version).max_by_key(|(number, _)| *number)
    }

    pub fn find(&self, key: Key) -> Option<(u8, State)> {
        self.tables.iter().find(|(name, ..)| *name == key).map(|(_, id, state)| (*id, *state))
    }

    /// Changes the tables. The list from before is kept.
    fn change(&mut self, how: impl FnOnce(&mut Vec<(Key, u8, State)>)) {
        let before = self.versions();
        how(&mut self.tables);
        self.tables.sort_unstable_by_key(|(key, ..)| *key);
        if self.versions() != before {
            self.past.retain(|(_, list)| *list != before);
            self.past.push((self.now, before));
        }
    }

    pub fn make(&mut self, key: Key, id: u8, state: State) {
        self.change(|tables| tables.push((key, id, state)));
    }

    pub fn delete(&mut self, key: Key) {
        self.change(|tables| tables.retain(|(name, ..)| *name != key));
    }

    pub fn rename(&mut self, from: Key, to: u8) -> bool {
        let Some((id, state)) = self.find(from) else { return false };
        let to = Key::Version(to);
        if self.find(to).is_some() && !breaks(Contract::RenameOverwritesNothing) {
            return false;
        }
        self.change(|tables| {
            tables.retain(|(name, ..)| *name != from && *name != to);
            tables.push((to, id, state));
        });
        true
    }

    pub fn users_of(&self, ids: Ids) -> u8 {
        let user = |at: usize| self.users[at].filter(|_| ids & 1 << at != 0);
        (0..3).filter_map(user).fold(0, |users, user| users | 1 << user)
    }

    pub fn request(&mut self, is_add: bool, id: Ids) {
        let users = self.users_of(id);
        self.cohort = if is_add { self.cohort | users } else { self.cohort & !users };
    }

    pub fn put_off(&mut self, late: Late) {
        if !self.late.contains(&late) {
            self.late.push(late);
            self.late.sort_unstable();
        }
    }

    pub fn happen(&mut self, late: Late) {
        self.late.retain(|other| *other != late);
        match late {
            Late::Request { is_add, id, .. } => self.request(is_add, id),
            Late::Rename { from, to } => _ = self.rename(from, to),
            Late::Delete(key) => self.delete(key),
        }
    }

    /// What is too late can no longer happen.
    pub fn tick(&mut self, stale: u32) {
        self.now += 1;
        let now = self.now;
        self.late.retain(|late| !matches!(late, Late::Request { until, .. } if *until <= now));
        self.past.retain(|(until, _)| until + stale >= now);
    }

    /// What is wrong with the world, if anything.
    pub fn fault(&self) -> Option<&'static str> {
        let (rows, confirmed) = self.top().map_or((0, 0), |(_, state)| (state.rows(), state.confirmed));
        let is_even = self.top().is_none_or(|(number, _)| number % 2 == 0);
        if is_even && self.late.iter().any(|late| matches!(late, Late::Request { .. })) {
            Some("a request may take effect after a version is committed")
        } else if self.users_of(confirmed) & !self.cohort != 0 {
            Some("what is confirmed is not in the cohort")
        } else if self.cohort & !self.users_of(ids(rows)) != 0 {
            Some("what is in the cohort is not in the version")
        } else {
            None
        }
    }
}

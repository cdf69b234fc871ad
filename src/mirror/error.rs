//! Why a mirror cannot work or continue.

use std::fmt;

use thiserror::Error;

use crate::treasure_data::show::Status;

/// Why a mirror cannot work or continue.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// There is state under another data import key, but none under this one.
    #[error(
        "the state of this cohort was made with another BRAZE_CLIENT_SECRET (table {table}). If you rotated the key, start the workflow once with \
         -p braze_cohort.key_rotated=true; if this key is of another Braze workspace, set another state_table"
    )]
    OtherKey {
        /// A table of it.
        table: String,
    },
    /// A dry run cannot use the state of another data import key, because it renames nothing.
    #[error(
        "the state of this cohort was made with another BRAZE_CLIENT_SECRET (table {table}), and a dry run does not rename it: start the workflow once \
         with -p braze_cohort.key_rotated=true and without dry_run"
    )]
    OtherKeyInDryRun {
        /// A table of it.
        table: String,
    },
    /// There are several other states that could be meant.
    #[error(
        "this cohort has state tables of several earlier BRAZE_CLIENT_SECRETs: {}. Keep the newest (Treasure Data's console shows when \
         a table was made), delete the others, and run again", .tables.join(", ")
    )]
    OtherKeys {
        /// A table of each.
        tables: Vec<String>,
    },
    /// Braze refuses a call without changes.
    #[error(
        "Braze refused a call that adds and removes no one ({said}). Nothing was changed. If its message is about a setting, such as cohort_id, \
         fix that. If not, a mirror cannot work with this Braze account: send Braze's support what td-braze-cohort check --json prints"
    )]
    CallWithoutChanges {
        /// Braze's message.
        said: String,
    },
    /// The account does not behave as the protocol requires.
    #[error(
        "a mirror cannot work in this Treasure Data account, because this must be so, and is not: {fact}. Nothing was changed. Check that the user of \
         TD_API_KEY may make, rename and delete tables. If so, send Treasure Data's support what td-braze-cohort check --json prints"
    )]
    Fact {
        /// Which fact.
        fact: Fact,
    },
    /// A job failed again and again.
    #[error(
        "the query '{step}' failed three times (last: job {id}, status '{status}'); its log in Treasure Data's console has the reason. Check the \
         permissions of TD_API_KEY's user and the table's columns, or run it again later"
    )]
    JobFailed {
        /// The last job.
        id: String,
        /// `error` or `killed`.
        status: Status,
        /// Its purpose.
        step: &'static str,
    },
    /// An answer that Treasure Data should not give.
    #[error("{said}; run it again, and report it if it happens again")]
    Unexpected {
        /// What is wrong.
        said: String,
    },
}

/// What the protocol relies on. Only the account can show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Tables can be created and deleted.
    Tables,
    /// A rename onto an existing table is refused.
    Rename,
    /// A new table is listed soon.
    List,
    /// Issued twice, it is one job.
    DomainKey,
    /// The function that takes only whole numbers exists.
    ToBase,
}

impl fmt::Display for Fact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tables => "tables can be made and deleted",
            Self::Rename => "a rename onto an existing table is refused",
            Self::List => "a new table is listed within 5 s",
            Self::DomainKey => "a domain_key used twice returns the first job",
            Self::ToBase => "the function to_base exists",
        })
    }
}

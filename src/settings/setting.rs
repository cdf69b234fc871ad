//! Every setting, one row each. Parsing, checks, the JSON Schema and docs/settings.md use them. A new setting needs
//! only a row and its use.

use super::kind::ValueKind;
use crate::input::cells::NULL_WORDS;
use crate::input::formats::format::Format;
use crate::input::formats::splitter::Quotes;
use crate::members::operation::{MIRROR, Operation};

/// What applies if a setting is not set.
#[derive(Clone, Copy, Debug)]
pub enum Unset {
    /// This value.
    Default(&'static str),
    /// What the code does, in words.
    Means(&'static str),
    /// It is an error.
    Required {
        /// Unless one of these is set.
        or: &'static [Key],
        /// How to set it.
        hint: &'static str,
    },
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in code.
    pub key: Key,
    /// Its name in YAML and in parameters.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: ValueKind,
    /// What applies if it is not set.
    pub unset: Unset,
    /// Example values in YAML.
    pub examples: &'static [&'static str],
    /// Its purpose.
    pub doc: &'static str,
    /// The environment variable that is read if nothing else sets it.
    pub variable: Option<&'static str>,
    /// Whether it may come from a workflow and contain `${...}`. False if it decides where the keys are sent.
    pub from_workflow: bool,
}

const ROW: Setting = Setting {
    key: Key::CohortId,
    name: "",
    kind: ValueKind::Text,
    unset: Unset::Means("none"),
    examples: &[],
    doc: "",
    variable: None,
    from_workflow: true,
};

macro_rules! settings {
    ($($key:ident $name:literal { $($field:ident: $value:expr),* $(,)? })*) => {
        /// The name of a setting in code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $(#[doc = concat!("See its row: ", stringify!($key))] $key),* }

        /// All settings, in the order of the documentation.
        pub static SETTINGS: &[Setting] = &[$(Setting { key: Key::$key, name: $name, $($field: $value,)* ..ROW }),*];
    };
}

settings! {
    CohortId "cohort_id" {
        unset: Unset::Required { or: &[], hint: "cohort_id: gold_members (the cohort's ID at Braze)" },
        examples: &["gold_members"],
        doc: "the cohort's ID at Braze",
    }
    CohortName "cohort_name" {
        unset: Unset::Means("`cohort_id`"),
        examples: &["Gold members"],
        doc: "the name in Braze's segment filter",
    }
    Operation "operation" {
        kind: ValueKind::OneOf(|| vec![Operation::Add.as_str(), Operation::Remove.as_str(), MIRROR]),
        unset: Unset::Required {
            or: &[Key::OperationColumn],
            hint: "operation: add, remove, or mirror (with a table), or operation_column: the column that has it for each row",
        },
        examples: &["add"],
        doc: "what to do with the members; `mirror` keeps the cohort equal to `table`",
    }
    OperationColumn "operation_column" {
        examples: &["change"],
        doc: "the column with `add`, `remove` or `delete` for each row",
    }
    Aliases "aliases" {
        kind: ValueKind::List,
        examples: &["[email]", "email, phone"],
        doc: "columns of user aliases; a column's name is the alias label",
    }
    Mapping "mapping" {
        kind: ValueKind::Map,
        examples: &["{external_id: user_ids, mail: email}"],
        doc: "renames columns to user_ids, device_ids or one of aliases",
    }
    ThreadCount "thread_count" {
        kind: ValueKind::Whole(1, 256),
        unset: Unset::Default("4"),
        examples: &["8"],
        doc: "parallel requests",
    }
    Endpoint "endpoint" {
        unset: Unset::Required {
            or: &[],
            hint: "endpoint: US-03 or https://rest.iad-03.braze.com (your Braze instance), or BRAZE_ENDPOINT in the environment; to \
                   try it without Braze, use --sandbox",
        },
        examples: &["US-03", "https://rest.iad-03.braze.com"],
        doc: "the REST endpoint of your Braze instance",
        variable: Some("BRAZE_ENDPOINT"),
    }
    AllowEndpoint "allow_endpoint" {
        kind: ValueKind::List,
        examples: &["[braze.example.com]"],
        doc: "more hosts that may be called, such as your own proxy; not from a workflow",
        variable: Some("TD_BRAZE_COHORT_ALLOW_ENDPOINT"),
        from_workflow: false,
    }
    CaFile "ca_file" {
        examples: &["config/ca.pem"],
        doc: "more certificates to trust, in PEM; not from a workflow",
        variable: Some("TD_BRAZE_COHORT_CA_FILE"),
        from_workflow: false,
    }
    Partner "partner" {
        kind: ValueKind::Segment,
        unset: Unset::Default("treasure_data"),
        examples: &["treasure_data"],
        doc: "the partner name of your partner key",
    }
    Input "input" {
        kind: ValueKind::Paths,
        unset: Unset::Required {
            or: &[Key::Table, Key::JobId],
            hint: "table: marketing.gold_members (the members in Treasure Data), or job_id: ${td.last_job_id} (a query's result), or \
                   input: members.csv (a file, or - for standard input), or --input PATH",
        },
        examples: &["members.csv", "part-*.csv.gz"],
        doc: "files with the members, read as one; `-` is standard input",
    }
    Table "table" {
        kind: ValueKind::Table,
        examples: &["marketing.gold_members"],
        doc: "the Treasure Data table of members, instead of `input`",
    }
    JobId "job_id" {
        kind: ValueKind::JobNumber,
        examples: &["${td.last_job_id}"],
        doc: "the Treasure Data job whose result is read, instead of `input`",
    }
    Format "format" {
        kind: ValueKind::OneOf(|| Format::ALL.map(Format::name).to_vec()),
        unset: Unset::Means("recognised"),
        examples: &["csv"],
        doc: "the format of the input",
    }
    Quotes "quotes" {
        kind: ValueKind::OneOf(|| Quotes::NAMED.map(|(name, _)| name).to_vec()),
        unset: Unset::Means("quoted on one line"),
        examples: &["standard"],
        doc: "TSV only: a cell that begins with a quote is quoted (`standard`, also over several lines) or text (`none`)",
    }
    Columns "columns" {
        kind: ValueKind::List,
        unset: Unset::Means("the header"),
        examples: &["[user_ids, email]"],
        doc: "the names of the columns, if the input has no header",
    }
    NullWords "null_words" {
        kind: ValueKind::List,
        unset: Unset::Default(NULL_WORDS),
        examples: &["[]", "[\"null\", n/a]"],
        doc: "words that count as blank, in exactly this spelling",
    }
    ExpectedRows "expected_rows" {
        kind: ValueKind::Whole(0, u64::MAX),
        unset: Unset::Means("unchecked"),
        examples: &["${td.last_job.num_records}"],
        doc: "the number of rows that the input must have",
    }
    MaxRejected "max_rejected" {
        kind: ValueKind::Share,
        unset: Unset::Means("1 %, at least 10"),
        examples: &["0", "5%"],
        doc: "stop if more cells and rows are rejected",
    }
    StateTable "state_table" {
        kind: ValueKind::Table,
        unset: Unset::Means("next to `table`"),
        examples: &["marketing.state_of_gold_members"],
        doc: "mirror: the database and name prefix of its state, which holds identifiers",
    }
    MaxRemovals "max_removals" {
        kind: ValueKind::Share,
        unset: Unset::Means("20 %, at least 1,000"),
        examples: &["500", "5%"],
        doc: "mirror: change nothing if more identifiers would be removed",
    }
    MaxAdditions "max_additions" {
        kind: ValueKind::Share,
        unset: Unset::Means("100 %, at least 1,000"),
        examples: &["100000", "50%"],
        doc: "mirror: change nothing if more identifiers would be added, except in the first run",
    }
    Refresh "refresh" {
        kind: ValueKind::DurationOr(&["off", "all"]),
        unset: Unset::Default("30d"),
        examples: &["90d", "off"],
        doc: "mirror: how often each member is sent again; `all` sends all now",
    }
    KeyRotated "key_rotated" {
        kind: ValueKind::Flag,
        unset: Unset::Default("false"),
        examples: &["true"],
        doc: "mirror, for one run: `BRAZE_CLIENT_SECRET` is a new key of the same workspace",
    }
    MinMatch "min_match" {
        kind: ValueKind::Percent,
        unset: Unset::Means("unchecked"),
        examples: &["80%"],
        doc: "send nothing if Braze knows fewer of a sample than this; needs `BRAZE_REST_API_KEY`",
    }
    FailedFile "failed_file" {
        examples: &["failed.csv"],
        doc: "gets refused and undelivered identifiers, with the reason; `upload --input` reads it",
    }
    MaxOutage "max_outage" {
        kind: ValueKind::Duration,
        unset: Unset::Default("15m"),
        examples: &["30m"],
        doc: "stop after this long without a successful request; after 1 minute at most if there was no answer yet",
    }
    MaxDuration "max_duration" {
        kind: ValueKind::Duration,
        unset: Unset::Default("23h"),
        examples: &["6h"],
        doc: "the longest time that a run may take",
    }
    MaxRefused "max_refused" {
        kind: ValueKind::Whole(0, u64::MAX),
        unset: Unset::Default("0"),
        examples: &["10"],
        doc: "how many refused identifiers are still exit code 0, not 5",
    }
    RequestTimeout "request_timeout" {
        kind: ValueKind::Duration,
        unset: Unset::Default("60s"),
        examples: &["30s"],
        doc: "the timeout for sending a request, and for its answer; connecting has 10 s",
    }
    Grace "grace" {
        kind: ValueKind::Duration,
        unset: Unset::Means("twice `request_timeout`"),
        examples: &["5m"],
        doc: "how long a request without an answer may still take effect: the wait between removals and additions, and before the end",
    }
    MaxRequestsPerHour "max_requests_per_hour" {
        kind: ValueKind::Whole(1, u64::MAX),
        unset: Unset::Default("250000"),
        examples: &["100000"],
        doc: "the most requests in any hour; set less if other tools upload to the same workspace",
    }
    DryRun "dry_run" {
        kind: ValueKind::Flag,
        unset: Unset::Default("false"),
        examples: &["true"],
        doc: "send no request to Braze, like `--dry-run`; needs no keys of Braze",
    }
    CheckOnly "check_only" {
        kind: ValueKind::Flag,
        unset: Unset::Default("false"),
        examples: &["true"],
        doc: "check settings, input and keys, like the command `check`; overrides `dry_run`",
    }
}

impl Key {
    /// The setting's row.
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }

    /// As written in YAML and in parameters.
    pub fn name(self) -> &'static str {
        self.setting().name
    }

    /// The setting with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        SETTINGS.iter().find(|setting| setting.name == name).map(|setting| setting.key)
    }
}

/// The names of these settings, for a message.
pub fn names(keys: &[Key]) -> String {
    keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ")
}

impl Setting {
    /// The value that applies if it is not set.
    pub fn default(&self) -> Option<&'static str> {
        if let Unset::Default(value) = self.unset { Some(value) } else { None }
    }
}

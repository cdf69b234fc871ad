//! Every setting, a row each. Parsing, checks, the JSON Schema and the table of docs/settings.md are read from here: a new
//! setting is a row and its use.

use crate::input::cells::NULL_WORDS;
use crate::input::formats::format::Format;
use crate::input::formats::splitter::Quotes;
use crate::input::near_names::nearest;
use crate::members::operation::{MIRROR, Operation};

/// More than the number of any job has.
pub const JOB_DIGITS: usize = 30;

/// What a value may be. Numbers and booleans may also come as text, as Digdag hands them over.
#[derive(Clone, Copy, Debug)]
pub enum ValueKind {
    /// Text that is not empty, or a number, which is taken as it is written.
    Text,
    /// The same, for a path.
    Path,
    /// Letters, digits, `_` and `-`.
    Segment,
    /// The number of a job: at most [`JOB_DIGITS`] digits.
    JobNumber,
    /// A table and its database.
    Table,
    /// One of these names.
    OneOf(fn() -> Vec<&'static str>),
    /// A list, or text with commas.
    List,
    /// A path or a pattern, or a list of them.
    Paths,
    /// Names and what they stand for.
    Map,
    /// A whole number, from and to.
    Whole(u64, u64),
    /// A whole number, or a percentage.
    Share,
    /// A percentage.
    Percent,
    /// A whole number with a unit.
    Duration,
    /// The same, or one of these words.
    DurationOr(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
}

/// What holds if it is not set.
#[derive(Clone, Copy, Debug)]
pub enum Unset {
    /// This value.
    Default(&'static str),
    /// What the code does then, in words.
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
    /// What its value may be.
    pub kind: ValueKind,
    /// What holds if it is not set.
    pub unset: Unset,
    /// Values in YAML.
    pub examples: &'static [&'static str],
    /// What it is for.
    pub doc: &'static str,
    /// The variable of the environment that has it if nothing else does.
    pub variable: Option<&'static str>,
    /// Whether it may come from a workflow and hold `${...}`. What decides where the keys go may not.
    pub from_workflow: bool,
}

/// What most rows have in common.
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
    ($($key:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        /// The name of a setting in code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $(#[doc = concat!("See its row: ", stringify!($key))] $key),* }

        /// All settings, in the order of the documentation.
        pub static SETTINGS: &[Setting] = &[$(Setting { key: Key::$key, $($field: $value,)* ..ROW }),*];
    };
}

settings! {
    CohortId {
        name: "cohort_id",
        unset: Unset::Required { or: &[], hint: "cohort_id: gold_members (the cohort's ID at Braze)" },
        examples: &["gold_members"],
        doc: "the cohort's identifier at Braze",
    }
    CohortName {
        name: "cohort_name",
        unset: Unset::Means("`cohort_id`"),
        examples: &["Gold members"],
        doc: "the name in Braze's segment filter",
    }
    Operation {
        name: "operation",
        kind: ValueKind::OneOf(|| vec![Operation::Add.as_str(), Operation::Remove.as_str(), MIRROR]),
        unset: Unset::Required {
            or: &[Key::OperationColumn],
            hint: "operation: add, remove, or mirror (with a table), or operation_column: the column that has it for each row",
        },
        examples: &["add"],
        doc: "what to do with the members; `mirror` keeps the cohort equal to `table`",
    }
    OperationColumn {
        name: "operation_column",
        examples: &["change"],
        doc: "the column that holds `add`, `remove` or `delete` for each row; all removals are sent before the additions",
    }
    Aliases {
        name: "aliases",
        kind: ValueKind::List,
        examples: &["[email]", "email, phone"],
        doc: "columns that hold user aliases; a column's name is the alias label",
    }
    Mapping {
        name: "mapping",
        kind: ValueKind::Map,
        examples: &["{external_id: user_ids, mail: email}"],
        doc: "columns with other names, and the column that each stands for",
    }
    ThreadCount {
        name: "thread_count",
        kind: ValueKind::Whole(1, 256),
        unset: Unset::Default("4"),
        examples: &["8"],
        doc: "parallel requests",
    }
    Endpoint {
        name: "endpoint",
        unset: Unset::Required {
            or: &[],
            hint: "endpoint: US-03 or https://rest.iad-03.braze.com (your Braze instance), or BRAZE_ENDPOINT in the environment; to \
                   try it without Braze, use --sandbox",
        },
        examples: &["US-03", "https://rest.iad-03.braze.com"],
        doc: "the REST endpoint of your Braze instance",
        variable: Some("BRAZE_ENDPOINT"),
    }
    AllowEndpoint {
        name: "allow_endpoint",
        kind: ValueKind::List,
        examples: &["[braze.example.com]"],
        doc: "other hosts that may be called, besides Braze's and Treasure Data's, such as your own proxy; cannot be set in a workflow",
        variable: Some("TD_BRAZE_COHORT_ALLOW_ENDPOINT"),
        from_workflow: false,
    }
    CaFile {
        name: "ca_file",
        kind: ValueKind::Path,
        examples: &["config/ca.pem"],
        doc: "a PEM file of more certificates to trust: your own CA's, such as that of a decrypting proxy, or a self-signed one; cannot be set in a workflow",
        variable: Some("TD_BRAZE_COHORT_CA_FILE"),
        from_workflow: false,
    }
    Partner {
        name: "partner",
        kind: ValueKind::Segment,
        unset: Unset::Default("treasure_data"),
        examples: &["treasure_data"],
        doc: "the partner name in Braze's URLs, which Braze gives you with the partner key",
    }
    Input {
        name: "input",
        kind: ValueKind::Paths,
        unset: Unset::Required {
            or: &[Key::Table, Key::JobId],
            hint: "table: marketing.gold_members (the members in Treasure Data), or job_id: ${td.last_job_id} (a query's result), or \
                   input: members.csv (a file, or - for standard input), or --input PATH",
        },
        examples: &["members.csv", "part-*.csv.gz"],
        doc: "the file with the members; several files are read as one, and `-` is standard input",
    }
    Table {
        name: "table",
        kind: ValueKind::Table,
        examples: &["marketing.gold_members"],
        doc: "the table of members in Treasure Data, instead of `input`; needs `TD_API_KEY`",
    }
    JobId {
        name: "job_id",
        kind: ValueKind::JobNumber,
        examples: &["${td.last_job_id}"],
        doc: "the Treasure Data job whose result is downloaded, instead of `input`; needs `TD_API_KEY`",
    }
    Format {
        name: "format",
        kind: ValueKind::OneOf(|| Format::ALL.map(Format::name).to_vec()),
        unset: Unset::Means("recognised"),
        examples: &["csv"],
        doc: "the format of the input",
    }
    Quotes {
        name: "quotes",
        kind: ValueKind::OneOf(|| Quotes::NAMED.map(|(name, _)| name).to_vec()),
        unset: Unset::Means("quoted on one line"),
        examples: &["standard"],
        doc: "TSV only: whether a cell that begins with a quote is quoted. Unset: if it ends with a quote on the same line. `standard`: always, \
              also over several lines. `none`: never",
    }
    Columns {
        name: "columns",
        kind: ValueKind::List,
        unset: Unset::Means("the header"),
        examples: &["[user_ids, email]"],
        doc: "the names of the columns, if the input has no header",
    }
    NullWords {
        name: "null_words",
        kind: ValueKind::List,
        unset: Unset::Default(NULL_WORDS),
        examples: &["[]", "[\"null\", n/a]"],
        doc: "words that count as blank, with exactly this spelling; `[]` for none",
    }
    ExpectedRows {
        name: "expected_rows",
        kind: ValueKind::Whole(0, u64::MAX),
        unset: Unset::Means("unchecked"),
        examples: &["${td.last_job.num_records}"],
        doc: "the number of rows that the input must have",
    }
    MaxRejected {
        name: "max_rejected",
        kind: ValueKind::Share,
        unset: Unset::Means("1 %, at least 10"),
        examples: &["0", "5%"],
        doc: "the run stops if more rows and cells are rejected",
    }
    StateTable {
        name: "state_table",
        kind: ValueKind::Table,
        unset: Unset::Means("next to `table`"),
        examples: &["marketing.state_of_gold_members"],
        doc: "mirror only: the database and the name prefix of the tables that record what was sent; they hold identifiers",
    }
    MaxRemovals {
        name: "max_removals",
        kind: ValueKind::Share,
        unset: Unset::Means("20 %, at least 1,000"),
        examples: &["500", "5%"],
        doc: "mirror only: if more identifiers would be removed, nothing is changed",
    }
    MaxAdditions {
        name: "max_additions",
        kind: ValueKind::Share,
        unset: Unset::Means("100 %, at least 1,000"),
        examples: &["100000", "50%"],
        doc: "mirror only: if more identifiers would be added, nothing is changed; the first run has no such limit",
    }
    Refresh {
        name: "refresh",
        kind: ValueKind::DurationOr(&["off", "all"]),
        unset: Unset::Default("30d"),
        examples: &["90d", "off"],
        doc: "mirror only: how often each member is sent again, because Braze drops identifiers that it does not know yet; `all` sends \
              all members now",
    }
    KeyRotated {
        name: "key_rotated",
        kind: ValueKind::Flag,
        unset: Unset::Default("false"),
        examples: &["true"],
        doc: "mirror only, for one run: `BRAZE_CLIENT_SECRET` was replaced by another key of the same workspace",
    }
    MinMatch {
        name: "min_match",
        kind: ValueKind::Percent,
        unset: Unset::Means("unchecked"),
        examples: &["80%"],
        doc: "ask Braze first about a sample of each kind of identifier, and send nothing if it knows fewer than this; needs \
              `BRAZE_REST_API_KEY`",
    }
    FailedFile {
        name: "failed_file",
        kind: ValueKind::Path,
        examples: &["failed.csv"],
        doc: "a file for identifiers that were refused or not delivered, with the reason; `upload --input` reads it",
    }
    MaxOutage {
        name: "max_outage",
        kind: ValueKind::Duration,
        unset: Unset::Default("15m"),
        examples: &["30m"],
        doc: "stop after this long without a successful request; before the first one, after 1 minute at most",
    }
    MaxDuration {
        name: "max_duration",
        kind: ValueKind::Duration,
        unset: Unset::Default("23h"),
        examples: &["6h"],
        doc: "the longest time that a run may take",
    }
    MaxRefused {
        name: "max_refused",
        kind: ValueKind::Whole(0, u64::MAX),
        unset: Unset::Default("0"),
        examples: &["10"],
        doc: "how many identifiers Braze may refuse in a run that still ends with exit code 0; with more, it ends with 5",
    }
    RequestTimeout {
        name: "request_timeout",
        kind: ValueKind::Duration,
        unset: Unset::Default("60s"),
        examples: &["30s"],
        doc: "the timeout for sending a request, and for its answer; for connecting it is 10 s",
    }
    Grace {
        name: "grace",
        kind: ValueKind::Duration,
        unset: Unset::Means("twice `request_timeout`"),
        examples: &["5m"],
        doc: "how long a request without an answer may still take effect: the run waits this long after the last one before it sends \
              additions that follow removals, and before it ends",
    }
    MaxRequestsPerHour {
        name: "max_requests_per_hour",
        kind: ValueKind::Whole(1, u64::MAX),
        unset: Unset::Default("250000"),
        examples: &["100000"],
        doc: "the most requests in any hour; Braze's limit is 250,000, so set less if other tools upload to the same workspace",
    }
    DryRun {
        name: "dry_run",
        kind: ValueKind::Flag,
        unset: Unset::Default("false"),
        examples: &["true"],
        doc: "do everything except sending requests to Braze, like `--dry-run`; needs no Braze credentials",
    }
    CheckOnly {
        name: "check_only",
        kind: ValueKind::Flag,
        unset: Unset::Default("false"),
        examples: &["true"],
        doc: "only check settings, input and credentials, like the command `check`, and send no member; overrides `dry_run`",
    }
}

impl Key {
    /// Its row.
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }

    /// As it is written in YAML and in parameters.
    pub fn name(self) -> &'static str {
        self.setting().name
    }

    /// The setting of exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        SETTINGS.iter().find(|setting| setting.name == name).map(|setting| setting.key)
    }

    /// The setting that a mistyped name resembles.
    pub fn nearest(name: &str) -> Option<Self> {
        nearest(name, SETTINGS.iter().map(|setting| setting.name)).and_then(Self::from_name)
    }
}

/// The names of these settings, for a message.
pub fn names(keys: &[Key]) -> String {
    keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ")
}

impl Setting {
    /// The value that holds if it is not set.
    pub fn default(&self) -> Option<&'static str> {
        match self.unset {
            Unset::Default(value) => Some(value),
            Unset::Means(_) | Unset::Required { .. } => None,
        }
    }

    /// What a value must be, for a message.
    pub fn wanted(&self) -> String {
        match self.kind {
            ValueKind::Text | ValueKind::Path => "a string".to_owned(),
            ValueKind::Segment => "letters, digits, _ and - only".to_owned(),
            ValueKind::JobNumber => format!("the number of a job, such as {}", self.examples.concat()),
            ValueKind::OneOf(names) => one_of(&names().iter().map(|name| format!("'{name}'")).collect::<Vec<_>>()),
            ValueKind::List => "a list, or text with commas".to_owned(),
            ValueKind::Paths => "a path, a pattern, or a list of them".to_owned(),
            ValueKind::Map => format!("a map such as {}", self.examples.join(" or ")),
            ValueKind::Whole(from, to) => whole(from, to),
            ValueKind::Share => "a whole number, or a percentage such as 5%".to_owned(),
            ValueKind::Percent => "a percentage such as 80%".to_owned(),
            ValueKind::Table => "database.table, each of letters, digits and _".to_owned(),
            ValueKind::Duration => DURATION.to_owned(),
            ValueKind::DurationOr(words) => format!("{DURATION}, or {}", words.join(" or ")),
            ValueKind::Flag => "true or false".to_owned(),
        }
    }
}

const DURATION: &str = "a duration above 0, such as 30s, 15m, 23h or 30d";

/// A whole number in this range, for a message.
pub fn whole(from: u64, to: u64) -> String {
    match (from, to) {
        (0, u64::MAX) => "a whole number".to_owned(),
        (from, u64::MAX) => format!("a whole number of at least {from}"),
        (from, to) => format!("a whole number from {from} to {to}"),
    }
}

/// These names, for a message.
pub fn one_of(names: &[String]) -> String {
    match names {
        [several @ .., last] if !several.is_empty() => format!("{} or {last}", several.join(", ")),
        names => names.concat(),
    }
}

/// A value that `init` leaves open, such as `<your cohort ID>`.
pub mod placeholder {
    /// How it begins.
    pub const START: &str = "<your ";

    /// That for such a thing.
    pub fn of(what: &str) -> String {
        format!("{START}{what}>")
    }

    /// Whether a value is one.
    pub fn is(value: &str) -> bool {
        value.starts_with(START) && value.ends_with('>')
    }
}

/// Whether a name is that of a credential, which must not be a setting.
pub fn names_a_credential(name: &str) -> bool {
    let folded: String = name.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect();
    ["secret", "apikey", "partnerkey", "importkey", "password", "token", "credential"]
        .iter()
        .any(|word| folded.contains(word))
}

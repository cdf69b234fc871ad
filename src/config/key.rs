//! The names of all settings: the one place that lists them.

use crate::nearest::nearest;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Text, required. The cohort's identifier at Braze.
    CohortId,
    /// Text; `cohort_id` where not set. The name that Braze's segment filter shows.
    CohortName,
    /// `add` or `remove`; this or `operation_column` is required.
    Operation,
    /// The column that says `add` or `remove` (or `delete`) for the members of its row.
    OperationColumn,
    /// A list, or comma-separated text; none. Labels of user aliases, each the name of a column.
    Aliases,
    /// A map from columns of the input to `user_ids`, `device_ids` or a label of `aliases`; none.
    Mapping,
    /// 1 to 256; 4. Requests at once.
    ThreadCount,
    /// A URL, or the name of a Braze instance such as `US-03`; `BRAZE_ENDPOINT` of the environment where not set.
    Endpoint,
    /// A list, or comma-separated text. Names of hosts beyond Braze's and Treasure Data's that may be called.
    AllowEndpoint,
    /// A path. Certificates in PEM of CAs that are trusted beside the standard ones.
    CaFile,
    /// Text; `treasure_data`. The partner's segment in Braze's path.
    Partner,
    /// A path, a pattern such as `part-*.csv.gz`, a list of both, or `-` for standard input; this or `job_id` is required.
    /// Files are read as one.
    Input,
    /// Digits, such as `${td.last_job_id}`. The Treasure Data job whose result is fetched and read.
    JobId,
    /// `csv`, `tsv`, `jsonl`, `json` or `msgpack`; recognised by content, then by the file's name.
    Format,
    /// A list, or comma-separated text; the header. The names of the columns, in order, of an input without a header line.
    Columns,
    /// A whole number. The rows that the input must have, such as `${td.last_job.num_records}`.
    ExpectedRows,
    /// A whole number, or a percentage of the rows read; 1 % of them, and at least 1,000. More rejected cells and rows
    /// than that stop the run.
    MaxRejected,
    /// A whole number; none. Of a delta with `operation_column`: how many may be members before it. With `wanted_count`, too many
    /// removals stop the run before anything is sent.
    PossibleCount,
    /// A whole number; none. Of a delta with `operation_column`: how many are to be members after it.
    WantedCount,
    /// A whole number; none. Exactly so many removals are meant, whatever the limits say. For one run.
    AllowRemovals,
    /// A path. Keeps what was delivered, so that a run that was killed is not sent again from the start.
    /// A path. Where the identifiers go that did not arrive.
    FailedFile,
    /// A duration; 15m. How long nothing may get through before the run ends.
    MaxOutage,
    /// A duration; 23h. How long the run may take.
    MaxDuration,
    /// A whole number, at least 1; 250,000, which is Braze's limit. Requests in any hour.
    MaxRequestsPerHour,
}

impl Key {
    /// Every setting, in the order of the documentation.
    pub const ALL: [Self; 24] = [
        Self::CohortId,
        Self::CohortName,
        Self::Operation,
        Self::OperationColumn,
        Self::Aliases,
        Self::Mapping,
        Self::ThreadCount,
        Self::Endpoint,
        Self::AllowEndpoint,
        Self::CaFile,
        Self::Partner,
        Self::Input,
        Self::JobId,
        Self::Format,
        Self::Columns,
        Self::ExpectedRows,
        Self::MaxRejected,
        Self::PossibleCount,
        Self::WantedCount,
        Self::AllowRemovals,
        Self::FailedFile,
        Self::MaxOutage,
        Self::MaxDuration,
        Self::MaxRequestsPerHour,
    ];

    /// As it is written in YAML and in parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::CohortId => "cohort_id",
            Self::CohortName => "cohort_name",
            Self::Operation => "operation",
            Self::OperationColumn => "operation_column",
            Self::Aliases => "aliases",
            Self::Mapping => "mapping",
            Self::ThreadCount => "thread_count",
            Self::Endpoint => "endpoint",
            Self::AllowEndpoint => "allow_endpoint",
            Self::CaFile => "ca_file",
            Self::Partner => "partner",
            Self::Input => "input",
            Self::JobId => "job_id",
            Self::Format => "format",
            Self::Columns => "columns",
            Self::ExpectedRows => "expected_rows",
            Self::MaxRejected => "max_rejected",
            Self::PossibleCount => "possible_count",
            Self::WantedCount => "wanted_count",
            Self::AllowRemovals => "allow_removals",
            Self::FailedFile => "failed_file",
            Self::MaxOutage => "max_outage",
            Self::MaxDuration => "max_duration",
            Self::MaxRequestsPerHour => "max_requests_per_hour",
        }
    }

    /// The setting of exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// The setting that a mistyped name resembles.
    pub fn nearest(name: &str) -> Option<Self> {
        nearest(name, Self::ALL.into_iter().map(Self::name)).and_then(Self::from_name)
    }
}

/// Whether somebody means to put a credential where it does not belong.
pub fn names_a_credential(name: &str) -> bool {
    let folded: String = name.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect();
    ["secret", "apikey", "partnerkey", "importkey", "password", "token", "credential"]
        .iter()
        .any(|word| folded.contains(word))
}

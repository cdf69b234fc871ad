//! Why a run ended early, and what to do.

use std::time::Duration;

use indicatif::HumanCount;
use thiserror::Error;

use crate::braze::Refusal;
use crate::braze::export::PERMISSION;
use crate::commands::exit::Exit;
use crate::commands::table::TableError;
use crate::delivery::DeliveryError;
use crate::delivery::failed_file::FailuresError;
use crate::input::columns::HeaderError;
use crate::input::error::InputError;
use crate::input::source::SourceError;
use crate::matching::{MatchError, TooFew};
use crate::mirror::error::MirrorError;
use crate::mirror::run::Conclusion;
use crate::retry::LimitReached;
use crate::settings::ConfigError;
use crate::settings::credentials::REST_API_KEY;
use crate::treasure_data::JobError;

/// The API that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Braze.
    Braze,
    /// Treasure Data.
    TreasureData,
}

impl Api {
    /// Its name, and the setting with its address.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Braze => ("Braze", "the endpoint"),
            Self::TreasureData => ("Treasure Data", "TD_API_SERVER"),
        }
    }
}

/// Why a command ended early. In a run, the first reason counts.
#[derive(Debug, Error)]
pub enum Stop {
    /// Invalid settings, credentials or usage.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sandbox cannot start.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::Error),
    /// A folder that `init` cannot write, or a file of Digdag's protocol that cannot be used.
    #[error("{what} {problem}")]
    Unusable {
        /// The command or the file.
        what: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A project of `init` or OUTPUT.json cannot be written.
    #[error("{what} cannot be written: {error} (check the folder's free space and permissions)")]
    Unwritable {
        /// Which file.
        what: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The signal handlers cannot be installed.
    #[error("the handler of SIGINT and SIGTERM cannot be installed: {0}. Nothing was sent. Run it again")]
    Signals(#[source] std::io::Error),
    /// SIGINT.
    #[error("stopped by SIGINT; run it again (sending an identifier twice does no harm)")]
    Interrupted,
    /// SIGTERM.
    #[error("stopped by SIGTERM; run it again (sending an identifier twice does no harm)")]
    Terminated,
    /// The input cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Braze, or something in front of it, refused a call.
    #[error("{}", refusal_text(.refusal, .address))]
    Refused {
        /// The answer.
        refusal: Refusal,
        /// The called address.
        address: String,
    },
    /// No request succeeded for too long.
    #[error(
        "no request to {address} succeeded for {} s (last: {last}); {}", .lasted.as_secs(),
        if *.answered { format!("{} may be down: see its status page, and run it again later", .server.names().0) }
        else { format!("no valid answer ever came: check {}, DNS, the proxy and the firewall, then run it again", .server.names().1) }
    )]
    Outage {
        /// The API.
        server: Api,
        /// The called address.
        address: String,
        /// For how long.
        lasted: Duration,
        /// Whether it had ever answered.
        answered: bool,
        /// The last failure.
        last: String,
    },
    /// The run reached `max_duration`.
    #[error("the run took longer than max_duration ({} s); run it again, or raise max_duration", HumanCount(.limit.as_secs()))]
    Deadline {
        /// `max_duration`.
        limit: Duration,
    },
    /// A pause beyond `max_duration`.
    #[error(
        "{} a pause of {} s, until {:.0}. This is longer than max_duration allows; run it again after that time",
        if *.is_announced { format!("{} asks for", .server.names().0) } else { "max_requests_per_hour is used up, which needs".to_owned() },
        HumanCount(.pause.as_secs() + u64::from(.pause.subsec_nanos() > 0)), .until
    )]
    PauseTooLong {
        /// The API.
        server: Api,
        /// The API asks for it. If it does not, our own limit is used up.
        is_announced: bool,
        /// How long.
        pause: Duration,
        /// When it ends by this machine's clock, in UTC.
        until: jiff::Timestamp,
    },
    /// The job's result cannot be fetched.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The columns of a job or a table cannot be used.
    #[error("{name}: {error}")]
    Header {
        /// The job or the table.
        name: String,
        /// What is wrong with them.
        error: Box<HeaderError>,
    },
    /// The job's number of rows is not the expected one.
    #[error(
        "job {id} has {} rows instead of {} (expected_rows): check job_id. Nothing was sent", HumanCount(*.found), HumanCount(*.expected)
    )]
    JobRows {
        /// Which job.
        id: String,
        /// Its `num_records`.
        found: u64,
        /// `expected_rows`.
        expected: u64,
    },
    /// A mirror cannot begin or continue.
    #[error(transparent)]
    MirrorError(#[from] MirrorError),
    /// A mirror did not reach its end.
    #[error("{}", mirror_text(.0))]
    Mirror(Conclusion),
    /// Braze knows fewer than `min_match`.
    #[error(transparent)]
    TooFewKnown(#[from] TooFew),
    /// Braze refused the REST API key.
    #[error(
        "Braze refused the REST API key ({said}): {REST_API_KEY} must be a REST API key of this workspace, for this endpoint, with the permission {PERMISSION}; if it has an IP allow-list, this machine must be on it. No member was sent"
    )]
    RestKey {
        /// Braze's message.
        said: String,
    },
    /// One request failed again and again, while others succeeded.
    #[error("asking Braze which identifiers it knows failed ({said}). No member was sent; run it again later")]
    NoAnswer {
        /// The last failure.
        said: String,
    },
    /// A file that must be written cannot be.
    #[error("{0}. No further request was sent")]
    CannotWrite(#[from] FailuresError),
    /// A bug in this program.
    #[error(
        "a bug in td-braze-cohort: {0}. Please report it, and run again; the printed report counts what was not delivered"
    )]
    Defect(String),
}

impl From<Box<Stop>> for Stop {
    fn from(stop: Box<Stop>) -> Self {
        *stop
    }
}

impl From<DeliveryError> for Stop {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Input(error) => Self::Input(*error),
            DeliveryError::Refused { refusal, address } => Self::Refused { refusal, address },
            DeliveryError::CannotWrite(error) => Self::CannotWrite(error),
            DeliveryError::Defect(what) => Self::Defect(what),
        }
    }
}

impl From<MatchError> for Stop {
    fn from(error: MatchError) -> Self {
        match error {
            MatchError::Key { said } => Self::RestKey { said },
            MatchError::Refused { refusal, address } => Self::Refused { refusal, address },
            MatchError::GivenUp { said } => Self::NoAnswer { said },
        }
    }
}

impl Stop {
    /// Turns the limit that ended a run into the reason. It is for requests to this address.
    pub fn of_limiter(server: Api, address: String) -> impl Fn(LimitReached) -> Self + Send + Sync + 'static {
        move |halt| match halt {
            LimitReached::Outage { lasted, answered, last } => {
                Self::Outage { server, address: address.clone(), lasted, answered, last }
            }
            LimitReached::Deadline { limit } => Self::Deadline { limit },
            LimitReached::PauseTooLong { pause, is_announced } => {
                Self::PauseTooLong { server, is_announced, pause, until: shown_end(pause) }
            }
        }
    }

    /// The exit code for this reason.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::Terminated => Exit::Terminated,
            Self::Refused { refusal: Refusal::Credentials(_), .. } | Self::RestKey { .. } => Exit::Credentials,
            Self::Config(_)
            | Self::Sandbox(_)
            | Self::Unusable { .. }
            | Self::Refused { refusal: Refusal::Configuration(_), .. } => Exit::Usage,
            Self::Refused { .. } => Exit::Refused,
            Self::Outage { .. }
            | Self::Deadline { .. }
            | Self::PauseTooLong { .. }
            | Self::NoAnswer { .. }
            | Self::MirrorError(MirrorError::JobFailed { .. } | MirrorError::Unexpected { .. }) => Exit::TryAgain,
            Self::TooFewKnown(_) => Exit::SafetyLimit,
            Self::Mirror(conclusion) => of_mirror(conclusion),
            Self::MirrorError(_) => Exit::Usage,
            Self::Job(error) => of_job(error),
            Self::CannotWrite(_) | Self::Unwritable { .. } | Self::Input(InputError::Source(SourceError::Spool(_))) => {
                Exit::CannotWrite
            }
            Self::Input(_) | Self::Table(_) | Self::Header { .. } | Self::JobRows { .. } => Exit::Input,
            Self::Defect(_) | Self::Signals(_) => Exit::Defect,
        }
    }

    /// Whether a run that stops before it counts anything still has a report.
    pub fn has_report(&self) -> bool {
        !matches!(self, Self::Config(_) | Self::Signals(_) | Self::Input(_) | Self::CannotWrite(_))
    }
}

fn of_mirror(conclusion: &Conclusion) -> Exit {
    match conclusion {
        Conclusion::Committed => Exit::Success,
        Conclusion::Exceeded(_) => Exit::SafetyLimit,
        Conclusion::Rejected { .. } => Exit::Input,
        Conclusion::TooManyRefused => Exit::Refused,
        Conclusion::Faster | Conclusion::TakenOver | Conclusion::Undelivered | Conclusion::Unknown => Exit::TryAgain,
    }
}

fn mirror_text(conclusion: &Conclusion) -> String {
    let text = match conclusion {
        Conclusion::Committed => "the cohort is equal to the table",
        Conclusion::Exceeded(exceeded) => return exceeded.to_string(),
        Conclusion::Rejected { cells, rows } => {
            return format!(
                "{} cells in the table's {} rows are not valid identifiers (floats, lists or control characters), more than max_rejected \
                 allows. Nothing was changed. Fix the query that makes the table",
                HumanCount(*cells),
                HumanCount(*rows)
            );
        }
        Conclusion::Faster => {
            "another run of the same cohort started at the same time. It continues, and this one changed nothing. You need not do \
             anything, unless you know that there was no other: then run it again"
        }
        Conclusion::TakenOver => {
            "a newer run of the same cohort has taken over and finishes the work. You need not do anything, unless you know that there was \
             no other: then run it again. If this happens often, set skip_on_overtime: true on the schedule"
        }
        Conclusion::Undelivered => {
            "the mirror did not deliver all changes. Run it again, or wait for the next session: it sends the rest. If it ends so again, the \
             log says what Braze refuses: see \"Refused identifiers\" on the mirror's page"
        }
        Conclusion::TooManyRefused => {
            "Braze refused more than 1,000 identifiers. A mirror can remember only 1,000, so its state was not updated. The log has \
             Braze's message: fix the table, or leave out the kind of identifier that Braze refuses"
        }
        Conclusion::Unknown => {
            "Treasure Data did not confirm the rename of the state's table. Run it again: the next run checks whether it happened"
        }
    };
    text.to_owned()
}

fn of_job(error: &JobError) -> Exit {
    match error {
        JobError::Failed { .. } | JobError::Unknown { .. } | JobError::NoResult { .. } | JobError::Schema { .. } => {
            Exit::Input
        }
        JobError::Credentials { .. } => Exit::Credentials,
        JobError::NotTreasureData { .. } | JobError::Refused { .. } => Exit::Refused,
        JobError::Configuration { .. } => Exit::Usage,
        JobError::GaveUp { .. } => Exit::TryAgain,
        JobError::CannotKeep { .. } => Exit::CannotWrite,
    }
}

#[expect(clippy::disallowed_methods, reason = "a time that is shown to a person is of the wall clock")]
fn shown_end(pause: Duration) -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.checked_add(pause).unwrap_or(now)
}

fn refusal_text(refusal: &Refusal, address: &str) -> String {
    match refusal {
        Refusal::Credentials(said) => format!(
            "Braze refused the credentials ({said}): {}",
            if said.contains("artner") {
                "check BRAZE_PARTNER_API_KEY and the setting partner. If they are right, ask Braze whether the partner key is valid \
                 for this instance and enabled for your data import key"
            } else {
                "check BRAZE_CLIENT_SECRET (the data import key, in the dashboard under Partner Integrations), and that endpoint is \
                 the instance that the key belongs to"
            }
        ),
        Refusal::Request(said) => format!(
            "Braze refused the call to {address} ({said}): fix the setting in Braze's message, such as cohort_id. If the message \
             names no setting, ask Braze support"
        ),
        Refusal::NotFound => match partner(address) {
            Some((endpoint, partner)) => format!(
                "Braze has no partner '{partner}' at {endpoint} (404): set `partner` to the name that Braze gave you with your partner key, \
                 and check endpoint"
            ),
            None => format!("{address} does not exist (404): check endpoint"),
        },
        Refusal::NotBraze(said) => {
            format!("the answer from {address} is not Braze's: {said} (check endpoint, the proxy and the firewall)")
        }
        Refusal::Configuration(said) => format!("{address}: {said}"),
    }
}

fn partner(address: &str) -> Option<(&str, &str)> {
    let (endpoint, path) = address.split_once("/partners/")?;
    Some((endpoint, path.split('/').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn text() -> String {
        "7".to_owned()
    }

    #[rstest]
    #[case(JobError::Unknown { id: text(), server: text() }, 3)]
    #[case(JobError::NoResult { id: text() }, 3)]
    #[case(JobError::Credentials { server: text(), said: text() }, 4)]
    #[case(JobError::NotTreasureData { server: text(), said: text() }, 5)]
    #[case(JobError::Refused { server: text(), said: text() }, 5)]
    #[case(JobError::Configuration { server: text(), said: text() }, 2)]
    #[case(JobError::GaveUp { call: text(), failures: 10, said: text() }, 75)]
    #[case(JobError::CannotKeep { id: text(), folder: text(), error: std::io::ErrorKind::StorageFull.into() }, 73)]
    fn what_keeps_a_result_away_has_its_exit_code(#[case] error: JobError, #[case] code: u8) {
        assert_eq!(Stop::Job(error).exit().code(), code);
    }

    #[rstest]
    #[case(LimitReached::Outage { lasted: Duration::from_mins(15), answered: true, last: text() }, "Treasure Data may be down")]
    #[case(LimitReached::Outage { lasted: Duration::from_mins(1), answered: false, last: text() }, "check TD_API_SERVER")]
    fn an_outage_names_the_server(#[case] halt: LimitReached, #[case] words: &str) {
        let stop = Stop::of_limiter(Api::TreasureData, "td".to_owned())(halt);
        assert!(stop.to_string().contains(words) && stop.exit() == Exit::TryAgain, "{stop}");
    }
}

//! Messages when the connection to Braze, or Braze itself, ends a run.

use std::time::Duration;

use rustls::CertificateError;
use td_braze_cohort::http::{HeaderMap, HeaderValue};

use super::{Section, full, texts};
use td_braze_cohort::braze::{Refusal, classify};
use td_braze_cohort::commands::exit::Exit;
use td_braze_cohort::commands::outcome::{Api, Stop};
use td_braze_cohort::commands::pipeline::Outcome;
use td_braze_cohort::commands::table::TableError;
use td_braze_cohort::delivery::counts::DeliveryCounts;
use td_braze_cohort::delivery::failed_file::FailuresError;
use td_braze_cohort::http::connect_proxy::answered;
use td_braze_cohort::http::endpoint::Endpoint;
use td_braze_cohort::http::resolver::failed;
use td_braze_cohort::http::tls::untrusted;
use td_braze_cohort::http::{Answer, HttpError};
use td_braze_cohort::input::TableName;
use td_braze_cohort::input::columns::{HeaderError, Names};
use td_braze_cohort::input::counters::InputCounts;
use td_braze_cohort::input::error::InputProblem;
use td_braze_cohort::input::formats::RowsError;
use td_braze_cohort::matching::TooFew;
use td_braze_cohort::members::operation::{Operation, Operations};
use td_braze_cohort::mirror::error::{Fact, MirrorError};
use td_braze_cohort::mirror::limits::{Exceeded, Limit, Limits};
use td_braze_cohort::mirror::run::Conclusion;
use td_braze_cohort::report::Report;
use td_braze_cohort::retry::Failure;
use td_braze_cohort::treasure_data::answer::of_answer;
use td_braze_cohort::treasure_data::show::{JobInfo, Status};
use td_braze_cohort::treasure_data::{Job, JobError};

pub fn sections() -> Vec<Section> {
    vec![
        ("No way to Braze, for longer than max_outage", texts(outages())),
        ("A certificate, or a proxy, ends the run", texts(configuration())),
        ("Braze, or something before it, ends the run", texts(answers())),
        ("The result of a job", texts(jobs())),
        ("A mirror that does not get to its end", texts(mirrors())),
        ("Too few identifiers that Braze knows", texts(matches())),
        ("Other ends of a run that has begun", texts(ends())),
        ("A run that went to its end, without everything delivered", incomplete()),
    ]
}

const PROXY: &str = "proxy.example.com:3128 (HTTPS_PROXY)";

fn host() -> String {
    "rest.iad-01.braze.com".to_owned()
}

fn refused(refusal: Refusal) -> Stop {
    Stop::Refused { refusal, address: format!("https://{}/partners/treasure_data/cohorts", host()) }
}

fn outages() -> Vec<Stop> {
    let unknown = ureq::Error::Io(std::io::Error::other("Temporary failure in name resolution"));
    let lookups = [unknown, ureq::Error::Timeout(ureq::Timeout::Resolve)];
    let mut errors = vec![
        HttpError::Stale,
        HttpError::Unreachable("Connection refused (os error 111)".into()),
        answered(PROXY, 503),
        HttpError::Timeout("receive response".into()),
        HttpError::Broken("Connection reset by peer (os error 104)".into()),
        HttpError::Unintelligible("more than 65536 bytes".into()),
    ];
    errors.extend(lookups.iter().map(|error| failed(&host(), error)));
    let outage = |last: String, answered, server| Stop::Outage {
        server,
        address: if server == Api::Braze {
            format!("https://{}", host())
        } else {
            "https://api.treasuredata.com".into()
        },
        lasted: Duration::from_mins(15),
        answered,
        last,
    };
    let answered = [Api::Braze, Api::TreasureData].map(|server| outage("status 503".into(), true, server));
    let last = [outage("cannot be reached: timed out (connect)".into(), false, Api::TreasureData)];
    let errors = errors.into_iter().map(|error| outage(error.to_string(), false, Api::Braze));
    errors.chain(last).chain(answered).collect()
}

fn configuration() -> Vec<Stop> {
    let certificates = [
        CertificateError::UnknownIssuer,
        CertificateError::Expired,
        CertificateError::NotValidYet,
        CertificateError::NotValidForName,
        CertificateError::Revoked,
    ];
    let certificates = certificates.map(|problem| untrusted(&host(), &problem));
    let proxies = [407, 403, 400].map(|status| answered(PROXY, status));
    let refusals = certificates.into_iter().chain(proxies).map(|error| match error {
        HttpError::Certificate(_) | HttpError::Proxy(_) => Refusal::Configuration(error.to_string()),
        other => panic!("{other} does not end a run"),
    });
    refusals.map(refused).collect()
}

/// The errors for answers of Braze and of servers in between.
fn answers() -> Vec<Stop> {
    let said = |status: u16, message: &str| (status, format!(r#"{{"message":"{message}"}}"#), "application/json");
    let answers = [
        said(401, "Invalid client secret"),
        said(401, "Invalid Partner API key"),
        said(403, "Unauthorized access"),
        said(400, "cohort_id must be a valid string"),
        said(418, "I'm a teapot"),
        (404, String::new(), "text/plain"),
        (302, String::new(), "text/plain"),
        (200, "<html>".to_owned(), "text/html"),
        (400, "<html>".to_owned(), "text/html"),
        (403, "<html>".to_owned(), "text/html"),
        (407, String::new(), "text/plain"),
    ];
    answers
        .into_iter()
        .map(|(status, body, kind)| {
            let headers =
                HeaderMap::from_iter([(td_braze_cohort::http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            match classify(&Ok(Answer { status, headers, body: body.into_bytes() }), None) {
                Err(Failure::Final(refusal)) => refused(refusal),
                other => panic!("{status} ends no run: {other:?}"),
            }
        })
        .collect()
}

fn mirrors() -> Vec<Stop> {
    let exceeded = |wanted, by_removals, by_additions| {
        let limits = Limits { removals: Limit::Percent(5), ..Limits::default() };
        let (before, left, entered) = (5000, 1234, 6789);
        Conclusion::Exceeded(Exceeded { before, wanted, left, entered, by_removals, by_additions, limits })
    };
    let conclusions = [
        exceeded(10_555, true, true),
        exceeded(0, true, false),
        Conclusion::Faster,
        Conclusion::TakenOver,
        Conclusion::Undelivered,
        Conclusion::TooManyRefused,
        Conclusion::Unknown,
        Conclusion::Rejected { cells: 4711, rows: 10_000 },
    ];
    let facts = [Fact::Tables, Fact::Rename, Fact::List, Fact::DomainKey, Fact::ToBase];
    let table = |key: &str| format!("braze_gold_ec9fb52e_{key}_2");
    let errors = [
        MirrorError::OtherKey { table: table("9aa4320c") },
        MirrorError::OtherKeyInDryRun { table: "braze_gold_ec9fb52e_9aa4320c_2".into() },
        MirrorError::OtherKeys { tables: vec![table("9aa4320c"), table("11111111")] },
        MirrorError::CallWithoutChanges { said: "cohort_id must be a valid string".to_owned() },
        MirrorError::JobFailed { id: "4711".to_owned(), status: Status::Error, step: "commit the new version" },
        MirrorError::Unexpected { said: "Treasure Data returned a count that is not a number".to_owned() },
    ];
    let errors = errors.into_iter().chain(facts.map(|fact| MirrorError::Fact { fact }));
    conclusions.into_iter().map(Stop::Mirror).chain(errors.map(Stop::MirrorError)).chain(tables()).collect()
}

fn tables() -> [Stop; 4] {
    let table = || TableName { database: "marketing".to_owned(), table: "gold_members".to_owned() };
    let header = Names::default().find_all(&["user_id".to_owned()]).unwrap_err();
    let of_type =
        |found: &str| TableError::ColumnType { table: table(), column: "user_ids".into(), found: found.into() };
    [
        TableError::Unknown { table: table() }.into(),
        Stop::Header { name: "the table marketing.gold_members".to_owned(), error: Box::new(header) },
        of_type("double").into(),
        of_type("array<string>").into(),
    ]
}

fn jobs() -> Vec<Stop> {
    let (id, server) = (|| "4711".to_owned(), || "https://api.treasuredata.com".to_owned());
    let job = Job { id: id(), server: Endpoint::of_sandbox(server()) };
    let refused = |status: u16, body: &str| {
        let headers = HeaderMap::new();
        match of_answer(&job, &Answer { status, headers, body: body.as_bytes().to_vec() }) {
            Failure::Final(error) => error,
            other => panic!("{status} ends no run: {other:?}"),
        }
    };
    let shown = |schema: &str| {
        let body = format!(r#"{{"status": "success", "hive_result_schema": {schema}}}"#);
        JobInfo::parse(&job, body.as_bytes()).unwrap().columns().unwrap_err()
    };
    let header = HeaderError::NoIdentifierColumn {
        seen: vec!["email".into()],
        wanted: vec!["user_ids".into(), "device_ids".into()],
        nearest: None,
    };
    vec![
        Stop::Job(JobError::Failed { id: id(), status: Status::Killed }),
        Stop::Job(refused(404, "{}")),
        Stop::Job(shown("null")),
        Stop::Job(shown(r#""{}""#)),
        Stop::Header { name: job.name(), error: Box::new(header) },
        Stop::JobRows { id: id(), found: 8, expected: 12 },
        Stop::Job(refused(401, r#"{"error": "Invalid API key"}"#)),
        Stop::Job(refused(403, "Forbidden")),
        Stop::Job(refused(302, "")),
        Stop::Job(refused(418, r#"{"error": "I'm a teapot"}"#)),
        Stop::Job(refused(407, "")),
        Stop::Job(JobError::GaveUp {
            call: "a call to https://api.treasuredata.com about job 4711".into(),
            failures: 10,
            said: "the download broke off at byte 70000 (the connection broke: end of file)".into(),
        }),
        Stop::Job(JobError::GaveUp {
            call: "a call to https://api.treasuredata.com".into(),
            failures: 10,
            said: "status 503".into(),
        }),
        Stop::Job(JobError::CannotKeep { id: id(), folder: "/tmp".into(), error: full() }),
    ]
}

/// The variants of which an answer makes one.
#[test]
fn each_answer_about_a_job_is_the_error_that_is_meant() {
    let is = |place: usize, expected: fn(&JobError) -> bool| {
        assert!(matches!(&jobs()[place], Stop::Job(error) if expected(error)), "{place}");
    };
    is(1, |error| matches!(error, JobError::Unknown { .. }));
    is(2, |error| matches!(error, JobError::NoResult { .. }));
    is(3, |error| matches!(error, JobError::Schema { .. }));
    is(6, |error| matches!(error, JobError::Credentials { .. }));
    is(7, |error| matches!(error, JobError::NotTreasureData { .. }));
    is(9, |error| matches!(error, JobError::Refused { .. }));
    is(10, |error| matches!(error, JobError::Configuration { .. }));
}

fn pause_too_long(is_announced: bool) -> Stop {
    let until = "2026-11-24T01:30:00Z".parse().unwrap();
    Stop::PauseTooLong { server: Api::Braze, is_announced, pause: Duration::from_mins(90), until }
}

fn ends() -> Vec<Stop> {
    vec![
        Stop::Interrupted,
        Stop::Terminated,
        Stop::Deadline { limit: Duration::from_hours(23) },
        pause_too_long(true),
        pause_too_long(false),
        Stop::CannotWrite(FailuresError { name: "failed_file", path: "failed.csv".into(), error: full() }),
        Stop::Defect("a worker panicked".into()),
    ]
}

fn matches() -> Vec<Stop> {
    let too_few = |is_none, advice: &str| {
        let (share, low, high) = if is_none { (0.0, 0.0, 1.0) } else { (81.5, 77.4, 85.0) };
        let advice = advice.to_owned();
        Stop::TooFewKnown(TooFew { name: "email".into(), share, low, high, asked: 400, wanted: 90, is_none, advice })
    };
    vec![
        Stop::RestKey { said: "Invalid API key".into() },
        Stop::NoAnswer { said: "status 503".into() },
        too_few(
            false,
            "Of the 74 unknown values of email, Braze knows 38 in lower case: write LOWER(email) in the query",
        ),
        too_few(true, "To see which ones are unknown, run match with --unknown"),
    ]
}

fn incomplete() -> Vec<String> {
    let outcome = |sent: DeliveryCounts, exit: Exit, stop| {
        let report = Report {
            cohort_id: "vip".into(),
            partner: "treasure_data".into(),
            operations: Operations::One(Operation::Add),
            labels: Vec::new(),
            input: InputCounts { of_kinds: vec![5000, 0], ..InputCounts::new(0) },
            sent,
            removals: None,
            matched: None,
            seconds: 1.0,
            exit_code: exit.code(),
            mirror: None,
            dry_run: None,
            is_check: false,
            job: None,
            ignored_parameters: Vec::new(),
            sandbox: None,
        };
        Outcome { report, stop, exit }.problem().unwrap()
    };
    let sent = |delivered, refused| DeliveryCounts { delivered, refused, requests: 6, retries: 0 };
    let input = InputProblem::ExpectedRows { found: 5000, expected: 6000 }.of("members.csv");
    vec![
        outcome(sent(3000, 1000), Exit::TryAgain, None),
        outcome(sent(4000, 0), Exit::TryAgain, None),
        outcome(sent(4000, 1000), Exit::Refused, None),
        outcome(sent(5000, 0), Exit::Input, Some(Stop::Input(input))),
    ]
}

/// The errors that end a command pass others through as they are.
#[test]
fn an_error_that_is_passed_through_says_the_same() {
    let error = || InputProblem::from(RowsError::Empty).of("[]");
    assert_eq!(Stop::Input(error()).to_string(), error().to_string());
}

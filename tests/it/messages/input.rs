//! Messages about an input that cannot be used.

use std::io;
use std::path::PathBuf;

use super::{Section, denied, full, texts};
use td_braze_cohort::input::MaxRejected;
use td_braze_cohort::input::columns::HeaderError;
use td_braze_cohort::input::error::{InputError, InputProblem};
use td_braze_cohort::input::formats::RowsError;
use td_braze_cohort::input::formats::format::Format;
use td_braze_cohort::input::near_names::NearMiss;
use td_braze_cohort::input::source::SourceError;
use td_braze_cohort::input::source::compressed::CompressionError;
use td_braze_cohort::members::operation::Operation;

pub fn sections() -> Vec<Section> {
    vec![
        ("The files of an input", texts(files().into_iter().map(InputError::Source))),
        ("What an input holds", texts(rows().into_iter().map(|error| unusable(InputProblem::from(error))))),
        ("Columns", texts(headers().into_iter().map(|error| unusable(InputProblem::from(Box::new(error)))))),
        ("Limits of an input", texts(limits().into_iter().map(unusable))),
    ]
}

fn name() -> String {
    "members.csv".to_owned()
}

fn unusable(problem: InputProblem) -> InputError {
    InputError::Unusable { name: name(), problem }
}

fn files() -> Vec<SourceError> {
    let (path, directory) = (|| PathBuf::from(name()), || PathBuf::from("/srv/project"));
    let problem = "wildcards are either regular `*` or recursive `**`";
    vec![
        SourceError::NotFound { path: path(), directory: directory() },
        SourceError::NoMatch { pattern: "part-*.csv".into(), directory: directory() },
        SourceError::Pattern { pattern: "part-***".into(), problem },
        SourceError::Twice { path: path() },
        SourceError::Open { path: path(), error: denied() },
        SourceError::Spool(full()),
        SourceError::Modified { path: path() },
    ]
}

fn rows() -> Vec<RowsError> {
    let compressed = |error: CompressionError| RowsError::Io { unit: "line", number: 12, error: error.into() };
    vec![
        RowsError::Io { unit: "row", number: 12, error: io::Error::from_raw_os_error(5) },
        compressed(CompressionError::CutOff),
        compressed(CompressionError::Damaged { problem: "corrupt deflate stream".into() }),
        compressed(CompressionError::Garbage),
        RowsError::Empty,
        RowsError::HeaderTooLong,
        RowsError::Unsupported("compressed with bzip2: unpack it, or use gzip"),
        RowsError::UnterminatedQuote { line: 12 },
        RowsError::OpenQuoteOnALine { line: 12 },
        RowsError::QuotesOfOther { format: Format::Csv },
        RowsError::ColumnsOfObjects,
        RowsError::TextBehindQuote { line: 12, broken: 14 },
        RowsError::NoColumns,
        RowsError::HeaderBesideColumns,
        RowsError::ColumnCount { found: 3, named: 2 },
        RowsError::NotLines,
        RowsError::NoObject { lines: 100 },
        RowsError::CutOff { line: 12 },
        RowsError::NoMsgpack { row: 12 },
    ]
}

fn headers() -> Vec<HeaderError> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let (seen, wanted) = (|| names(&["user_id", "country"]), || names(&["user_ids", "device_ids"]));
    let near = |seen: &str, wanted: &str| Some(NearMiss { seen: seen.to_owned(), wanted: wanted.to_owned() });
    vec![
        HeaderError::NoIdentifierColumn { seen: names(&["country"]), wanted: wanted(), nearest: None },
        HeaderError::NoIdentifierColumn { seen: names(&["u1", "zoe@example.com"]), wanted: wanted(), nearest: None },
        HeaderError::NoIdentifierColumn { seen: seen(), wanted: wanted(), nearest: near("user_id", "user_ids") },
        HeaderError::Twice { output: "user_ids".into(), one: "external_id".into(), other: "user_ids".into() },
        HeaderError::Missing { names: vec!["phone".into()], seen: seen(), nearest: near("Phone", "phone") },
        HeaderError::OtherColumns { found: names(&["email"]), wanted: wanted(), first: "part-1.csv".into() },
    ]
}

fn limits() -> Vec<InputProblem> {
    let reasons = || "cell_count 12, float 989".to_owned();
    let rejected =
        |limit| InputProblem::TooManyRejected { rejected: 1001, rows_read: 20_000, limit, reasons: reasons() };
    vec![
        rejected(MaxRejected::Default),
        rejected(MaxRejected::Percent(5)),
        rejected(MaxRejected::Count(1000)),
        InputProblem::AllRejected { rows_read: 500, reasons: reasons() },
        InputProblem::OperationRejected { operation: Operation::Add, reasons: reasons() },
        InputProblem::UnknownOperations { rows: 450, words: vec!["\"insert\"".into()] },
        InputProblem::UnknownOperations { rows: 450, words: Vec::new() },
        InputProblem::ExpectedRows { found: 8, expected: 12 },
    ]
}

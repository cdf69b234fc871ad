//! The pure parts, each by itself: `cargo bench --locked`, or with a word for those whose names hold it.
//!
//! For changes of the code; what an upload costs as a whole is measured by `scripts/bench`.

#![allow(clippy::unwrap_used, reason = "what cannot be read cannot be measured")]
#![allow(missing_docs, reason = "Criterion's macros make public functions")]

use std::hint::black_box;
use std::io;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use td_braze_cohort::braze::body::{BodyWriter, Credentials};
use td_braze_cohort::input::MaxRejected;
use td_braze_cohort::input::cells;
use td_braze_cohort::input::columns::Names;
use td_braze_cohort::input::formats;
use td_braze_cohort::input::formats::format::{Format, FormatHint};
use td_braze_cohort::input::reader::{Limits, Pass, Reader};
use td_braze_cohort::input::source::Sources;
use td_braze_cohort::input::source::compressed::Unpacked;
use td_braze_cohort::members::batch::{Batch, CAPACITY};
use td_braze_cohort::members::identifier::Kind;
use td_braze_cohort::members::operation::Operation;
use td_braze_cohort::secret::Secret;

mod encode;
mod members;

use members::{WIDE_HEADER, WIDE_IDENTIFIERS};

/// Enough to leave the caches of a first look behind, and little enough for a run of a minute.
const ROWS: u64 = 2000;
/// Those of [`WIDE_HEADER`] that are aliases.
const ALIASES: [&str; 2] = ["email", "phone"];

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn names() -> Names {
    Names { aliases: owned(&ALIASES), ..Names::default() }
}

/// The wide input.
fn encoded(format: Format) -> Vec<u8> {
    let header = owned(&WIDE_HEADER);
    let rows = (0..ROWS).map(members::wide_row);
    let delimited = |delimiter| {
        let rows = rows.clone().map(move |row| encode::delimited(&row, delimiter));
        std::iter::once(encode::delimited(&header, delimiter)).chain(rows).collect::<String>().into_bytes()
    };
    match format {
        Format::Csv => delimited(','),
        Format::Tsv => delimited('\t'),
        Format::Jsonl => rows.map(|row| encode::json_object(&header, &row)).collect::<String>().into_bytes(),
        Format::Msgpack => rows.flat_map(|row| encode::msgpack(&row)).collect(),
    }
}

fn format_hint(format: Format) -> FormatHint {
    FormatHint { columns: format.needs_columns().then(|| owned(&WIDE_HEADER)), ..FormatHint::default() }
}

/// Reads all rows and looks at the cells with identifiers; how many bytes those have.
fn read_rows(input: &[u8], format: Format) -> usize {
    let opened = formats::open(Unpacked::new(input).unwrap(), "members", &format_hint(format), names().keys()).unwrap();
    assert_eq!(opened.format, format);
    let mut rows = opened.rows;
    let (mut bytes, mut count) = (0, 0);
    // JSON lines have the wanted keys as columns, all others those of the header.
    let columns: Vec<_> = if format == Format::Jsonl { (0..4).collect() } else { WIDE_IDENTIFIERS.to_vec() };
    while rows.advance().unwrap() {
        let row = rows.row();
        bytes += columns.iter().map(|column| row.cell(*column).len()).sum::<usize>();
        count += 1;
    }
    assert_eq!(count, ROWS);
    bytes
}

fn rows_of_each_format(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(ROWS));
    let expected = read_rows(&encoded(Format::Csv), Format::Csv);
    for format in Format::ALL {
        let plain = encoded(format);
        let inputs = [("plain", plain.clone()), ("gzip", encode::gzip(&plain))];
        for (compression, input) in inputs {
            assert_eq!(read_rows(&input, format), expected, "{format}, {compression}");
            group.bench_function(format!("{format} {compression}"), |bencher| {
                bencher.iter(|| read_rows(black_box(&input), format));
            });
        }
    }
}

fn identifiers(criterion: &mut Criterion) {
    let cells: Vec<_> =
        (0..ROWS).flat_map(|row| WIDE_IDENTIFIERS.map(|column| members::wide_row(row)[column].clone())).collect();
    let null_words = cells::NullWords::default();
    let mut group = criterion.benchmark_group("identifiers");
    group.throughput(Throughput::Elements(cells.len() as u64));
    group.bench_function("examine", |bencher| {
        bencher.iter(|| {
            cells
                .iter()
                .filter(|cell| matches!(cells::examine(cell.as_bytes(), &null_words), cells::Cell::Identifier { .. }))
                .count()
        });
    });
}

fn reader(criterion: &mut Criterion) {
    let limits = Limits { expected_rows: Some(ROWS), max_rejected: MaxRejected::Default, batch_size: CAPACITY };
    let mut group = criterion.benchmark_group("reader");
    group.throughput(Throughput::Elements(ROWS));
    for format in Format::ALL {
        let input = encoded(format);
        group.bench_function(format!("{format} to batches"), |bencher| {
            bencher.iter(|| {
                let bytes = Box::new(io::Cursor::new(input.clone()));
                let sources = Sources::of_bytes("members", format_hint(format), bytes);
                let reader = Reader::new(sources, &names(), limits, Pass::Every(Operation::Add)).unwrap();
                let mut identifiers = 0;
                let take = |batch: Batch| {
                    identifiers += batch.len();
                    true
                };
                reader.read(|_| {}, || None, take, |_| {}).unwrap();
                assert_eq!(identifiers, 7100);
            });
        });
    }
}

fn bodies(criterion: &mut Criterion) {
    let key = |text: &str| Secret::new(text.to_owned());
    let credentials = Credentials { client_secret: key("a data import key"), partner_api_key: key("a partner key") };
    let writer = BodyWriter::new(&credentials, "cohort", &owned(&ALIASES));
    let (mut external_ids, mut mixed) = (Batch::new(Operation::Add), Batch::new(Operation::Add));
    for row in 0..CAPACITY as u64 {
        external_ids.push(Kind::UserId, members::narrow_row(row)[0].as_bytes());
    }
    let kinds = [Kind::UserId, Kind::DeviceId, Kind::Alias(0), Kind::Alias(1)];
    let cells = (0..).flat_map(|row| {
        let row = members::wide_row(row);
        kinds.into_iter().zip(WIDE_IDENTIFIERS.map(|column| row[column].clone()))
    });
    for (kind, cell) in cells.filter(|(_, cell)| !cell.is_empty()).take(CAPACITY) {
        mixed.push(kind, cell.as_bytes());
    }
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Elements(CAPACITY as u64));
    for (name, batch) in [("external IDs", external_ids), ("mixed", mixed)] {
        let mut body = Vec::new();
        group.bench_function(name, |bencher| bencher.iter(|| writer.write(black_box(&batch), &mut body)));
    }
}

/// Short: the differences that matter are larger than the noise.
fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = parts; config = quick(); targets = rows_of_each_format, identifiers, reader, bodies);
criterion_main!(parts);

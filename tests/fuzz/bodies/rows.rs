//! Rows behind gzip, in pieces of any size: the result is the same as in one piece, the counts add up, and only what is an identifier is
//! sent.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use td_braze_cohort::braze::body::{BodyWriter, Credentials};
use td_braze_cohort::input::MaxRejected;
use td_braze_cohort::input::cells::NULL_WORDS;
use td_braze_cohort::input::columns::Names;
use td_braze_cohort::input::counters::InputCounts;
use td_braze_cohort::input::error::InputError;
use td_braze_cohort::input::formats::format::{Format, FormatHint};
use td_braze_cohort::input::formats::splitter::Quotes;
use td_braze_cohort::input::reader::passes::{LaterPasses, open};
use td_braze_cohort::input::reader::{Judged, Limits, Reader};
use td_braze_cohort::input::source::Sources;
use td_braze_cohort::members::batch::Batch;
use td_braze_cohort::members::identifier::{Kind, MAX_BYTES};
use td_braze_cohort::members::operation::{Operation, Operations};
use td_braze_cohort::secret::Secret;

/// How the content is read, from the first bytes of what the fuzzer gives.
#[derive(Clone)]
struct Options {
    operations: Operations,
    is_looked_at: bool,
    format_hint: FormatHint,
    limits: Limits,
    /// Batches that are taken before no more are wanted.
    wanted: usize,
}

impl Options {
    fn new([shape, how, batch_size]: [u8; 3]) -> Self {
        let names = |names: [&str; 3]| Some(names.map(str::to_owned).to_vec());
        let (format, columns) = match shape >> 2 & 7 {
            0 => (None, None),
            1 => (Some(Format::Csv), None),
            2 => (Some(Format::Tsv), None),
            3 => (Some(Format::Jsonl), None),
            4 => (Some(Format::Msgpack), names(["user_ids", "change", "email"])),
            5 => (Some(Format::Csv), names(["email", "user_ids", "change"])),
            6 => (None, names(["change", "user_ids", "device_ids"])),
            _ => (Some(Format::Tsv), names(["user_ids", "change", "x"])),
        };
        let quotes = [None, Some(Quotes::Standard), Some(Quotes::None), None][usize::from(shape >> 5 & 3)];
        let max_rejected = if shape & 128 == 0 { MaxRejected::Percent(100) } else { MaxRejected::Default };
        let operations = match shape & 1 {
            0 => Operations::One(Operation::Add),
            _ => Operations::Column("change".to_owned()),
        };
        Self {
            operations,
            is_looked_at: shape & 2 != 0,
            format_hint: FormatHint { format, columns, quotes, may_be_empty: false },
            limits: Limits { expected_rows: None, max_rejected, batch_size: 1 + usize::from(batch_size) },
            wanted: if how & 128 == 0 { usize::MAX } else { 2 },
        }
    }

    fn names(&self) -> Names {
        let operation = self.operations.column().map(str::to_owned);
        Names { aliases: vec!["email".to_owned()], operation, ..Names::default() }
    }
}

/// The content as it may be packed.
fn packed(content: &[u8], how: u8, seed: u8) -> Vec<u8> {
    let gzip = |content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    match how & 3 {
        0 => content.to_vec(),
        1 => gzip(content),
        2 => content.chunks(1 + usize::from(seed)).flat_map(gzip).collect(),
        _ => [gzip(content), vec![0; usize::from(seed)]].concat(),
    }
}

/// Gives its bytes in pieces whose sizes follow from a seed; all at once for none.
struct Pieces {
    bytes: io::Cursor<Vec<u8>>,
    state: Option<u32>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = match &mut self.state {
            None => usize::MAX,
            Some(state) => {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if *state >> 31 == 0 { 1 } else { 1 + (*state >> 20) as usize % 61 }
            }
        };
        let count = most.min(buffer.len());
        self.bytes.read(&mut buffer[..count])
    }
}

/// What becomes of an input.
#[derive(Debug, PartialEq)]
struct Outcome {
    judged: Option<Judged>,
    sent: Vec<Batch>,
    left: Vec<Batch>,
    counts: Option<InputCounts>,
    error: Option<String>,
}

impl Outcome {
    fn is_damaged(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.contains("gzip data"))
    }

    fn identifiers(&self) -> Vec<(Operation, Kind, &[u8])> {
        let batches = self.sent.iter().chain(&self.left);
        let identifiers = |batch| Batch::identifiers(batch).map(|(kind, bytes)| (batch.operation(), kind, bytes));
        batches.flat_map(identifiers).collect()
    }
}

pub fn run(data: &[u8]) {
    let Some(([shape, how, batch_size, seed], content)) = data.split_first_chunk::<4>() else { return };
    let options = Options::new([*shape, *how, *batch_size]);
    let bytes = packed(content, *how, *seed);
    let whole = read(bytes.clone(), None, &options);
    let in_pieces = read(bytes, Some(u32::from(*seed)), &options);
    if whole.is_damaged() || in_pieces.is_damaged() {
        // How much of it is read before the damage shows depends on the pieces.
        let (one, other) = (whole.identifiers(), in_pieces.identifiers());
        assert!(one.starts_with(&other) || other.starts_with(&one), "pieces change what is read");
        assert!(options.wanted < usize::MAX || whole.error.is_some() && in_pieces.error.is_some());
    } else {
        assert_eq!(whole, in_pieces, "pieces change the result");
    }
    whole.sent.iter().chain(&whole.left).for_each(|batch| check_batch(batch, &options));
    // gzip within gzip is refused; and what is packed is known to be whole.
    if how & 3 != 0 && !content.is_empty() && !content.starts_with(&[0x1f, 0x8b]) {
        let format_hint = FormatHint { may_be_empty: true, ..options.format_hint.clone() };
        let plain = read(content.to_vec(), None, &Options { format_hint, ..options });
        assert_eq!(whole, plain, "gzip changes the result");
    }
}

fn read(bytes: Vec<u8>, state: Option<u32>, options: &Options) -> Outcome {
    let pieces = Pieces { bytes: io::Cursor::new(bytes), state };
    let sources = Sources::of_bytes("input", options.format_hint.clone(), Box::new(pieces));
    let mut outcome = Outcome { judged: None, sent: Vec::new(), left: Vec::new(), counts: None, error: None };
    if let Err(error) = passes(sources, options, &mut outcome) {
        outcome.error = Some(error.to_string());
    }
    outcome
}

fn passes(sources: Sources, options: &Options, outcome: &mut Outcome) -> Result<(), InputError> {
    let Options { operations, is_looked_at, limits, .. } = options;
    let (reader, later) = open(sources, &options.names(), *limits, operations, *is_looked_at)?;
    match later {
        LaterPasses::None => send(reader, options, None, outcome),
        LaterPasses::Same(again) => {
            outcome.judged = Some(judge(reader, options)?);
            let result = again().and_then(|reader| send(reader, options, None, outcome));
            result.expect("what was judged to be usable is usable");
            check_judged(outcome, options);
            Ok(())
        }
        LaterPasses::Both { removals, additions } => {
            outcome.judged = Some(judge(reader, options)?);
            let removed = removals().and_then(|reader| send(reader, options, None, outcome));
            removed.expect("removals that were judged to be usable are");
            assert!(outcome.sent.iter().chain(&outcome.left).all(|batch| batch.operation() == Operation::Remove));
            let counts = outcome.counts.take();
            let added = additions().and_then(|reader| send(reader, options, counts, outcome));
            added.expect("additions that were judged to be usable are");
            check_judged(outcome, options);
            Ok(())
        }
    }
}

fn judge(reader: Reader, options: &Options) -> Result<Judged, InputError> {
    let count = Cell::new(0);
    let (judged, result) = reader.judge(|batch| {
        check_batch(batch, options);
        count.set(count.get() + batch.len() as u64);
        true
    });
    result?;
    assert_eq!(judged.removals + judged.additions, count.get(), "what is judged is what is shown");
    Ok(judged)
}

/// What is sent is what was judged, if nobody stopped it.
fn check_judged(outcome: &Outcome, options: &Options) {
    let Some(Judged { removals, additions, .. }) = outcome.judged else { return };
    if options.wanted == usize::MAX {
        let sent = |operation| {
            let batches = outcome.sent.iter().filter(|batch| batch.operation() == operation);
            batches.map(|batch| batch.len() as u64).sum::<u64>()
        };
        assert_eq!([Operation::Remove, Operation::Add].map(sent), [removals, additions]);
        let counts = outcome.counts.as_ref().unwrap();
        assert!(counts.read_to_end);
        assert_eq!(counts.rows_seen, counts.rows_read);
    }
}

fn send(
    reader: Reader,
    options: &Options,
    before: Option<InputCounts>,
    outcome: &mut Outcome,
) -> Result<(), InputError> {
    let (columns, is_sparse) = (reader.columns().used.len() as u64, reader.format() == Format::Jsonl);
    let reader = match before {
        Some(counts) => reader.counting_on(counts),
        None => reader,
    };
    let published = RefCell::new(InputCounts::default());
    let mut taken = 0;
    let sent_before = outcome.sent.iter().chain(&outcome.left).map(|batch| batch.len() as u64).sum::<u64>();
    let mut known = sent_before;
    let result = reader.read(
        |counts| *published.borrow_mut() = counts.clone(),
        || None,
        |batch| {
            taken += 1;
            known += batch.len() as u64;
            assert!(known <= published.borrow().identifiers(), "what is sent was counted before");
            outcome.sent.push(batch);
            taken < options.wanted
        },
        |batch| outcome.left.push(batch.clone()),
    );
    let counts = published.into_inner();
    check_counts(&counts, outcome);
    if !is_sparse {
        let rows = counts.rows_read - counts.rows_malformed.iter().sum::<u64>();
        let rejected = counts.cells_rejected.iter().sum::<u64>();
        assert_eq!(columns * rows, counts.cells_blank + counts.null_words + rejected + counts.identifiers());
    }
    outcome.counts = Some(counts);
    result
}

fn check_counts(counts: &InputCounts, outcome: &Outcome) {
    assert_eq!(counts.rows_read, counts.rows_used + counts.rows_without_identifier + counts.rows_rejected);
    assert!(counts.rows_read <= counts.rows_seen);
    let sent = |wanted: Kind| {
        let batches = outcome.sent.iter().chain(&outcome.left);
        batches.flat_map(Batch::identifiers).filter(|(kind, _)| *kind == wanted).count() as u64
    };
    assert_eq!(counts.of_kinds, Kind::all(1).map(sent).collect::<Vec<_>>());
}

/// Each identifier can be one, and the body is JSON that holds exactly these.
fn check_batch(batch: &Batch, options: &Options) {
    assert!(batch.len() <= options.limits.batch_size);
    let mut wanted = [Vec::new(), Vec::new(), Vec::new()];
    for (kind, bytes) in batch.identifiers() {
        let text = std::str::from_utf8(bytes).expect("an identifier is UTF-8");
        assert!(!text.trim().is_empty() && bytes.len() <= MAX_BYTES, "{text:?}");
        assert!(!text.chars().any(char::is_control) && !NULL_WORDS.split(',').any(|word| word == text), "{text:?}");
        wanted[kind.index()].push(text);
    }
    let secret = || Secret::new("fuzz-key".to_owned());
    let credentials = Credentials { client_secret: secret(), partner_api_key: secret() };
    let mut body = Vec::new();
    BodyWriter::new(&credentials, "vip", &["email".to_owned()]).write(batch, &mut body);
    let body: Value = serde_json::from_slice(&body).expect("a body is JSON");
    let change = &body["cohort_changes"][0];
    let texts = |list: &Value, name: Option<&str>| -> Vec<String> {
        let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().map(|item| name.map_or(item, |name| &item[name]).as_str().unwrap().to_owned()).collect()
    };
    let found = [
        texts(&change["user_ids"], None),
        texts(&change["device_ids"], None),
        texts(&change["aliases"], Some("alias_name")),
    ];
    assert_eq!(found.each_ref().map(Vec::as_slice), wanted.each_ref().map(Vec::as_slice));
    assert_eq!(change["should_remove"], batch.operation() == Operation::Remove);
}

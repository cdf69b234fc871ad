//! Hostile inputs, kept as files, and the result of each.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use regex_lite::Regex;
use rstest::rstest;

use crate::support::Run;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// A dry run of the file under its own name. `columns` is set if the format has no column names.
fn run(file: &str) -> Run {
    let run = Run::upload().without_credentials().set("input", file).set("max_rejected", "100%");
    let run = run.file(file, fs::read(folder().join(file)).unwrap()).arg("--dry-run").arg("--json");
    if file.ends_with(".msgpack") || file.starts_with("arrays") {
        run.set("columns", "[user_ids, device_ids]")
    } else if file.contains(".tsv") {
        run.set("quotes", "standard")
    } else {
        run
    }
}

/// Rows read, used, without identifier, rejected; and other numbers of the report.
#[rstest]
#[case("bom.csv", [1, 1, 0, 0], &[])]
#[case("bom_in_gzip.csv.gz", [1, 1, 0, 0], &[])]
#[case("bom.jsonl", [1, 1, 0, 0], &[])]
#[case("latin1.csv", [2, 1, 0, 1], &[("cells_rejected/invalid_utf8", 1)])]
#[case("shift_jis_header.csv", [1, 1, 0, 0], &[])]
#[case("control_characters.csv", [4, 1, 0, 3], &[("cells_rejected/control_character", 3)])]
#[case("ragged.csv", [3, 1, 0, 2], &[("rows_malformed/cell_count", 2)])]
#[case("header_only.csv", [0, 0, 0, 0], &[])]
#[case("header_only.tsv", [0, 0, 0, 0], &[])]
#[case("null_empty_blank.csv", [3, 1, 2, 0], &[("cells_blank", 5)])]
#[case("null_empty_blank.jsonl", [4, 1, 3, 0], &[("cells_blank", 7)])]
#[case("null_empty_blank.msgpack", [3, 1, 2, 0], &[("cells_blank", 5)])]
#[case("outer_space.jsonl", [2, 2, 0, 0], &[("cells_with_outer_space", 2)])]
#[case("long_integers.jsonl", [2, 2, 0, 0], &[])]
#[case("not_identifiers.jsonl", [6, 1, 0, 5], &[
    ("cells_rejected/float", 3), ("cells_rejected/boolean", 1), ("cells_rejected/nested", 2), ("identifiers/device_ids", 1),
])]
#[case("not_identifiers.msgpack", [7, 1, 0, 6], &[
    ("cells_rejected/float", 2), ("cells_rejected/boolean", 1), ("cells_rejected/nested", 2), ("cells_rejected/extension", 1),
    ("cells_rejected/invalid_utf8", 1), ("identifiers/device_ids", 1),
])]
#[case("bad_lines.jsonl", [9, 2, 0, 7], &[
    ("rows_malformed/not_json", 5), ("rows_malformed/duplicate_key", 1), ("rows_malformed/not_a_row", 1),
])]
#[case("bad_first_lines.jsonl", [3, 1, 0, 2], &[("rows_malformed/not_json", 1), ("rows_malformed/not_a_row", 1)])]
#[case("only_an_unused_key_twice.jsonl", [1, 1, 0, 0], &[])]
#[case("escaped_key.jsonl", [1, 1, 0, 0], &[])]
#[case("invalid_utf8.jsonl", [2, 1, 0, 1], &[("cells_rejected/invalid_utf8", 1)])]
#[case("deep.jsonl", [3, 2, 0, 1], &[("rows_malformed/not_json", 1)])]
#[case("deep.msgpack", [2, 2, 0, 0], &[("cells_rejected/nested", 1)])]
#[case("ragged.msgpack", [4, 2, 0, 2], &[("rows_malformed/cell_count", 2)])]
#[case("members.csv.gz", [200, 200, 0, 0], &[])]
#[case("padded.csv.gz", [200, 200, 0, 0], &[])]
fn is_read_to_its_end(#[case] file: &str, #[case] rows: [u64; 4], #[case] numbers: &[(&str, u64)]) {
    let report = run(file).exits(0).report();
    let keys = ["/rows_read", "/rows_used", "/rows_without_identifier", "/rows_rejected"];
    let report = report.has(&[(keys[0], rows[0]), (keys[1], rows[1]), (keys[2], rows[2]), (keys[3], rows[3])]);
    for (pointer, number) in numbers {
        assert_eq!(report.number(&format!("/{pointer}")), *number, "{pointer} in {report:?}");
    }
}

#[rstest]
#[case("bom_twice.csv", "no identifier column")]
#[case("utf16le.csv", "iconv -f UTF-16")]
#[case("utf16be_without_mark.csv", "iconv -f UTF-16")]
#[case("utf16_in_gzip.csv.gz", "iconv -f UTF-16")]
#[case("utf16.jsonl", "iconv -f UTF-16")]
#[case("twice_in_header.csv", "two columns for 'user_ids'")]
#[case("no_identifier_column.csv", "did you mean 'user_ids' instead of 'User_IDs'")]
#[case("no_identifier_column.jsonl", "did you mean 'user_ids' instead of 'user_id'")]
#[case("zero_bytes.csv", "empty")]
#[case("line_breaks_only.csv", "empty")]
#[case("blank_lines_only.jsonl", "empty")]
#[case("no_object.jsonl", "none of the first 2 lines is a JSON object")]
#[case("document.json", "jq -c '.[]'")]
#[case("document_in_a_line.json", "jq -c '.[]'")]
#[case("objects_in_one_list.json", "jq -c '.[]'")]
#[case("arrays.json", "arrays without column names")]
#[case("arrays_in_one_list.json", "arrays without column names")]
#[case("commas.jsonl", "not one object per line")]
#[case("text_behind_a_quote_in_the_header.csv", "begins in line 1 is invalid in line 2")]
#[case("cut_off_in_its_header.csv.gz", "the gzip data is cut off")]
#[case("gzip_in_gzip.csv.gz", "compressed with gzip, twice")]
#[case("frames.csv.zst", "compressed with zstd")]
#[case("tar.csv", "a tar archive")]
#[case("tar.csv.gz", "a tar archive")]
#[case("zip.csv", "compressed with zip")]
#[case("xz.csv.xz", "compressed with xz")]
#[case("bzip2.csv.bz2", "compressed with bzip2")]
fn is_refused_before_anything_is_read_from_it(#[case] file: &str, #[case] message: &str) {
    let run = run(file).exits(3).says(&[message]);
    assert_eq!(run.stdout, "");
}

#[rstest]
#[case("quote_without_end.csv", 1, "begins in line 3 is not closed")]
#[case("quote_without_end.tsv", 1, "begins in line 3 is not closed")]
#[case("text_behind_a_quote.csv", 0, "begins in line 2 is invalid in line 4")]
#[case("text_behind_a_quote.tsv", 1, "begins in line 3 is invalid in line 3")]
#[case("text_longer_than_the_file.msgpack", 1, "row 2 is not a whole MessagePack array")]
#[case("array_longer_than_the_file.msgpack", 1, "row 2 is not a whole MessagePack array")]
#[case("map_longer_than_the_file.msgpack", 1, "row 2 is not a whole MessagePack array")]
#[case("cut_off.msgpack", 1, "row 2 is not a whole MessagePack array")]
#[case("not_a_row.msgpack", 1, "row 2 is not a whole MessagePack array")]
#[case("never_used_byte.msgpack", 1, "row 2 is not a whole MessagePack array")]
#[case("garbage_behind.csv.gz", 200, "after the gzip data")]
#[case("garbage_behind_padding.csv.gz", 200, "after the gzip data")]
#[case("cut_off.csv.gz", 200, "the gzip data is cut off")]
#[case("cut_off_in_its_second_member.csv.gz", 100, "the gzip data is cut off")]
#[case("wrong_checksum.csv.gz", 200, "the gzip data is damaged")]
fn breaks_off(#[case] file: &str, #[case] rows_read: u64, #[case] message: &str) {
    let run = run(file).exits(3).says(&[message]);
    // The identifiers of all these files, as whole words, because names of temporary folders may contain anything.
    let shown = Regex::new(r"\bu[0-9]+\b").unwrap();
    assert!(!shown.is_match(&run.stdout) && !shown.is_match(&run.stderr), "an identifier was printed{run}");
    let report = run.report().has(&[("/rows_read", rows_read)]);
    assert_eq!(report.0["input_read_to_end"], false);
}

/// The names are taken from this file, so that none of the corpus is forgotten.
#[test]
fn every_file_of_the_corpus_has_its_case() {
    let text = include_str!("corpus.rs");
    let files: BTreeSet<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let without: Vec<_> = files.iter().filter(|file| !text.contains(&format!("#[case(\"{file}\""))).collect();
    assert!(files.len() > 60 && without.is_empty(), "{without:?}");
}

//! The fuzz targets' corpora as plain tests, for machines without the fuzzer's toolchain.

#![allow(clippy::print_stdout, reason = "it is shown of a test that fails, and names the file")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/bodies/answers.rs"]
mod answers;
#[path = "../fuzz/bodies/rows.rs"]
mod rows;
#[path = "../fuzz/bodies/settings.rs"]
mod settings;

use rstest::rstest;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[rstest]
#[case::rows("rows", rows::run)]
#[case::settings("settings", settings::run)]
#[case::answers("answers", answers::run)]
fn the_corpus_of_a_fuzz_target_holds(#[case] target: &str, #[case] run: fn(&[u8])) {
    for file in files(&format!("fuzz/corpus/{target}")) {
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn every_hostile_input_gives_the_same_in_pieces_of_any_size() {
    for file in files("corpus") {
        println!("{}", file.display());
        let content = fs::read(file).unwrap();
        for shape in (0..32).chain([32, 64, 96, 128, 129]) {
            for how in [0, 1, 2, 3, 128, 130] {
                rows::run(&[[shape, how, 3, 7].as_slice(), &content].concat());
            }
        }
    }
}

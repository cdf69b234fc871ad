//! Keys and identifiers that are easy to recognise, through every fault. Everything that leaves the process is searched for them, in
//! every form that they could be written in.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::support::Run;

mod answers;
mod inputs;

/// With every kind of letter that may be escaped. The words in capitals survive most escaping, so they are searched for.
const CLIENT_SECRET: &str = "k/\"ü+KEYCANARYIMPORT4711 ?>";
const CLIENT_WORD: &str = "KEYCANARYIMPORT4711";
const PARTNER_KEY: &str = "p\\&<KEYCANARYPARTNER4712=~";
const PARTNER_WORD: &str = "KEYCANARYPARTNER4712";
const IDENTIFIER_WORD: &str = "IDCANARY";
/// Each is a trap of its own: plain, an address, with a quote, a space, a backslash, other letters.
const IDENTIFIERS: [&str; 6] = [
    "IDCANARY1",
    "idcanary+2@example.com",
    "IDCANARY \"3\"",
    "IDCANARY 4 and more",
    "zoë/IDCANARY5\\é",
    "{\"IDCANARY6\": [1]}",
];

fn rows() -> String {
    let rows = IDENTIFIERS.iter().map(|identifier| format!("\"{}\"\r\n", identifier.replace('"', "\"\"")));
    std::iter::once("user_ids\r\n".to_owned()).chain(rows).collect()
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Every form in which a word could be seen.
fn forms(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_lowercase(), hex(word)];
    for before in 0..3 {
        let text = [&b"xyz"[..before], word.as_bytes()].concat();
        // Without the letters whose encoding also depends on the text around the word.
        let (from, to) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        forms.extend(
            [BASE64_STANDARD_NO_PAD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(&text)]
                .map(|t| t[from..to].to_lowercase()),
        );
    }
    forms
}

#[track_caller]
fn assert_hidden(what: &str, text: &str, words: &[&str]) {
    let lower = text.to_lowercase();
    for word in words {
        for form in forms(word) {
            assert!(!lower.contains(&form), "{word} is in {what}, as {form}:\n{text}");
        }
    }
}

/// The output and the files of the run have no keys and no identifiers. Only the file of failures has identifiers, but no keys.
#[track_caller]
fn assert_clean(stdout: &str, stderr: &str, directory: &Path) {
    let all = [CLIENT_WORD, PARTNER_WORD, IDENTIFIER_WORD];
    assert_hidden("standard output", stdout, &all);
    assert_hidden("standard error", stderr, &all);
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let text = || String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
        match name.as_str() {
            "members.csv" | "cohort.yml" | "in.json" => {}
            name if name.contains("failed.csv") => assert_hidden(name, &text(), &all[..2]),
            name => assert_hidden(name, &text(), &all),
        }
    }
}

/// An upload with these keys.
fn upload() -> Run {
    with_keys(Run::upload())
}

fn with_keys(run: Run) -> Run {
    run.env("BRAZE_CLIENT_SECRET", CLIENT_SECRET).env("BRAZE_PARTNER_API_KEY", PARTNER_KEY)
}

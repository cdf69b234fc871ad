//! What needs an SQL engine is in `scripts/mirror_sql.py`. It reads what the last test here writes.

use std::{env, fs};

use serde_json::{Value, json};

use super::*;
use crate::input::cells::{Cell, NULL_WORDS, NullWords, examine};

fn place(table: &str) -> TableName {
    TableName { database: "a b".to_owned(), table: table.to_owned() }
}

fn column(name: &str, kind: &str, column_type: ColumnType) -> Column {
    Column { name: name.to_owned(), kind: kind.to_owned(), column_type }
}

fn statements(refresh: Refresh) -> Statements {
    Statements {
        cohort_id: "gold\n'members'".to_owned(),
        members: place("members"),
        columns: vec![
            column("customer \"id\"", "user_ids", ColumnType::Whole),
            column("device_ids", "device_ids", ColumnType::Text),
            column("e'mail", "e'mail", ColumnType::Text),
            column("phone", "phone", ColumnType::Text),
        ],
        null_words: NULL_WORDS.split(',').map(str::to_owned).collect(),
        refresh,
    }
}

#[test]
fn names_and_values_cannot_break_out() {
    assert_eq!((literal("o'x"), quoted("a\"b")), ("'o''x'".to_owned(), "\"a\"\"b\"".to_owned()));
}

#[test]
fn the_first_line_says_who_issues_it_and_for_which_cohort() {
    let select = statements(Refresh::Off).select();
    assert_eq!(
        select,
        "-- td-braze-cohort, cohort gold 'members': read the members of the table\n\
         SELECT to_base(\"customer \"\"id\"\"\", 10) AS \"user_ids\", \"device_ids\" AS \"device_ids\", \"e'mail\" AS \"e'mail\", \
         \"phone\" AS \"phone\" FROM \"a b\".\"members\""
    );
}

#[test]
fn the_members_and_the_version_before_are_read_once() {
    let build = statements(Refresh::Every(60)).build(Some(&place("before")), &place("work"));
    for table in ["members", "before", "work"] {
        assert_eq!(build.matches(&qualified(&place(table))).count(), 1, "{build}");
    }
}

/// Cells at each edge of the rule, and the file reader's verdict on them, in the numbers of [`cells::verdict`].
fn cells_and_verdicts() -> Vec<Value> {
    let blanks = (0..0x1_0000)
        .filter_map(char::from_u32)
        .filter(|letter| letter.is_whitespace() || letter.is_control() || crate::input::cells::is_invisible(*letter));
    let near = |letter: char| [-1, 0, 1].map(|step| char::from_u32(u32::from(letter).wrapping_add_signed(step)));
    let letters: Vec<char> = blanks.flat_map(near).flatten().collect();
    let mut cells: Vec<String> = letters.iter().map(char::to_string).collect();
    cells.extend(letters.iter().map(|letter| format!("u{letter}1")));
    cells.extend([1023, 1024, 1025].map(|length| "x".repeat(length)));
    cells.extend([" ".repeat(1025), "é".repeat(512), "é".repeat(513), "\u{10ffff}".to_owned(), "😀".to_owned()]);
    cells.extend(NULL_WORDS.split(',').flat_map(|word| [word.to_owned(), format!("{word} "), word.to_uppercase()]));
    for mantissa in ["", "1", "12", "1.", ".5", "1.5", "1.0", "1.0.0", "x1.5", "1.5x"] {
        for exponent in ["", "e", "E7", "e-", "e-7", "e+300", "e-3000", "e300", "E3000", "e30000", ".0", "e7.0", "e1e1"]
        {
            cells.extend(["", "-", "+", "--"].map(|sign| format!("{sign}{mantissa}{exponent}")));
        }
    }
    let nested = [
        "[]",
        "{}",
        "[1]",
        r#"["u1", "u2"]"#,
        r#"{"a":1}"#,
        "[u1]",
        "{u1}",
        "[",
        "[1] x",
        " [1]",
        "[1] ",
        "[01]",
        "[1.]",
        "[.5]",
        "[NaN]",
        "[tru]",
        r#"{"a":1,}"#,
        "[1,]",
        r#"{"a":1,"a":2}"#,
        "{'a':1}",
        "[1][2]",
        "[1e400]",
        r#"["\x"]"#,
        r#"["\u00e9"]"#,
        "[true, null]",
        "[/*c*/1]",
    ];
    cells.extend(nested.map(str::to_owned));
    cells.extend(
        [
            "u1",
            "U 1",
            " u1",
            "u1 ",
            "日本語@example.com",
            r#"say "hi"\"#,
            "o'x",
            "100%",
            "e\u{301}",
            "\u{e9}",
            "true",
            "\u{feff} \u{ad}",
        ]
        .map(str::to_owned),
    );
    let words = NullWords::default();
    let verdict = |cell: &str| match examine(cell.as_bytes(), &words) {
        Cell::Blank | Cell::NullWord => 0,
        Cell::Identifier { .. } => 1,
        Cell::Rejected(_) => 2,
    };
    cells.sort();
    cells.dedup();
    cells.into_iter().map(|cell| json!([cell, verdict(&cell)])).collect()
}

#[test]
fn what_the_engine_is_to_try_is_written() {
    let (every, next) = (statements(Refresh::Every(1_000_000)), Some(place("before")));
    let refused = [
        (Operation::Add, "e'mail", "o'x@example.com"),
        (Operation::Add, "user_ids", "12"),
        (Operation::Remove, "phone", "gone"),
    ];
    let tried = json!({
        "verdict": cells::verdict("\"cell\"", ColumnType::Text, &every.null_words),
        "cells": cells_and_verdicts(),
        "build_first": every.build(None, &place("work")),
        "build_every": every.build(next.as_ref(), &place("work")),
        "build_all": statements(Refresh::All).build(next.as_ref(), &place("work")),
        "build_off": statements(Refresh::Off).build(next.as_ref(), &place("work")),
        "changes": every.changes(Some(2), &place("work")),
        "changes_unfinished": every.changes(Some(3), &place("work")),
        "changes_first": every.changes(None, &place("work")),
        "preview_first": every.preview(None),
        "preview_every": every.preview(next.as_ref().map(|table| (2, table))),
        "preview_unfinished": statements(Refresh::Off).preview(next.as_ref().map(|table| (3, table))),
        "preview_all": statements(Refresh::All).preview(next.as_ref().map(|table| (2, table))),
        "preview_off": statements(Refresh::Off).preview(next.as_ref().map(|table| (2, table))),
        "commit": every.commit(&place("work"), &[], 424_242, &place("next")),
        "commit_refused": every.commit(&place("work"), &refused, 424_242, &place("next")),
        "select": every.select(),
        "status": every.status(&place("before")),
    });
    assert!(tried["cells"].as_array().is_some_and(|cells| cells.len() > 500));
    if let Ok(path) = env::var("MIRROR_SQL") {
        fs::write(path, tried.to_string()).unwrap();
    }
}

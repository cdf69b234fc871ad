//! ARCHITECTURE.md's table of modules, compared with the code: which module imports which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Modules in the order of the table, each with those that it may use.
type Table = Vec<(String, BTreeSet<String>)>;

#[derive(Debug, Default, PartialEq, Eq)]
struct Imports {
    /// Top-level modules of the crate that a file names.
    used: BTreeSet<String>,
    /// Those of them that it re-exports with `pub use`.
    passed_on: BTreeSet<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn table() -> Table {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| module |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let name = cells[0].trim_matches('`').trim_end_matches('/').to_owned();
            (name, names_in(cells.last().unwrap()))
        })
        .collect()
}

fn names_in(cell: &str) -> BTreeSet<String> {
    cell.split([',', ' '])
        .map(|name| name.trim_matches('`'))
        .filter(|name| name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_') && !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// `src/input/formats/csv.rs` is `[input, formats, csv]`.
fn module_path(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// Every path into another module of the crate, in `use` lines and elsewhere. Text and comments are not tokens.
fn imports(tokens: TokenStream, module: &[String], found: &mut Imports) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let is_path = |at: usize| is_punct(trees.get(at), ':') && is_punct(trees.get(at + 1), ':');
    let mut at = 0;
    let mut is_passed_on = false;
    while at < trees.len() {
        match &trees[at] {
            TokenTree::Group(group) => {
                let inner = inline_module(&trees, at);
                let nested: Vec<String> = module.iter().cloned().chain(inner).collect();
                imports(group.stream(), &nested, found);
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => is_passed_on = false,
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                let follows_a_path = at >= 2 && is_path(at - 2);
                if word == "use" {
                    is_passed_on = at > 0 && !matches!(&trees[at - 1], TokenTree::Punct(_)) && is_public(&trees, at);
                } else if !follows_a_path && (word == "crate" || word == "td_braze_cohort") && is_path(at + 1) {
                    note(heads(trees.get(at + 3)), module, is_passed_on, found);
                } else if !follows_a_path && word == "super" {
                    let mut climbed = 1;
                    while is_path(at + 1) && is_ident(trees.get(at + 3), "super") {
                        climbed += 1;
                        at += 3;
                    }
                    if climbed >= module.len() && is_path(at + 1) {
                        note(heads(trees.get(at + 3)), module, is_passed_on, found);
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
}

fn note(heads: Vec<String>, module: &[String], is_passed_on: bool, found: &mut Imports) {
    for head in heads.into_iter().filter(|head| module.first() != Some(head)) {
        if is_passed_on {
            found.passed_on.insert(head.clone());
        }
        found.used.insert(head);
    }
}

/// `name`, or the first word of each branch of `{a::b, c}`.
fn heads(tree: Option<&TokenTree>) -> Vec<String> {
    match tree {
        Some(TokenTree::Ident(ident)) => vec![ident.to_string()],
        Some(TokenTree::Group(group)) => {
            let mut is_first = true;
            let mut heads = Vec::new();
            for tree in group.stream() {
                match &tree {
                    TokenTree::Punct(punct) if punct.as_char() == ',' => is_first = true,
                    TokenTree::Ident(ident) if is_first => {
                        heads.push(ident.to_string());
                        is_first = false;
                    }
                    _ => is_first = false,
                }
            }
            heads
        }
        other => vec![format!("{other:?}")],
    }
}

fn inline_module(trees: &[TokenTree], at: usize) -> Option<String> {
    let TokenTree::Group(group) = &trees[at] else { return None };
    let is_module = group.delimiter() == Delimiter::Brace && at >= 2 && is_ident(trees.get(at - 2), "mod");
    is_module.then(|| trees[at - 1].to_string())
}

fn is_public(trees: &[TokenTree], at: usize) -> bool {
    is_ident(trees.get(at - 1), "pub")
        || at >= 2 && matches!(&trees[at - 1], TokenTree::Group(_)) && is_ident(trees.get(at - 2), "pub")
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_ident(tree: Option<&TokenTree>, wanted: &str) -> bool {
    matches!(tree, Some(TokenTree::Ident(ident)) if ident == wanted)
}

fn imports_of(text: &str, module: &[&str]) -> Imports {
    let mut found = Imports::default();
    let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
    imports(text.parse().unwrap(), &module, &mut found);
    found
}

/// What each module of the crate imports, with the file that does so.
fn arrows() -> (BTreeMap<(String, String), PathBuf>, Vec<PathBuf>) {
    let (mut arrows, mut passing_on) = (BTreeMap::new(), Vec::new());
    for file in files(&root().join("src")) {
        let mut found = Imports::default();
        let module = module_path(&file);
        imports(fs::read_to_string(&file).unwrap().parse().unwrap(), &module, &mut found);
        for used in found.used {
            arrows.insert((module[0].clone(), used), file.clone());
        }
        if !found.passed_on.is_empty() {
            passing_on.push(file);
        }
    }
    (arrows, passing_on)
}

#[test]
fn the_code_has_the_arrows_of_the_table_and_no_others() {
    let table = table();
    assert!(table.len() > 10, "the table of modules was not found");
    let (arrows, _) = arrows();
    let mut missing = Vec::new();
    for ((from, to), file) in &arrows {
        let row = table.iter().find(|(name, _)| name == from);
        let (_, may_use) = row.unwrap_or_else(|| panic!("{} is in no module of the table", file.display()));
        if !may_use.contains(to) {
            missing.push(format!("{from} -> {to}, in {}", file.display()));
        }
    }
    assert!(missing.is_empty(), "arrows that are not in the table: {missing:#?}");
    let mut unused = Vec::new();
    for (from, may_use) in table.iter().filter(|(from, _)| !["main", "lib"].contains(&from.as_str())) {
        for to in may_use {
            if !arrows.contains_key(&(from.clone(), to.clone())) {
                unused.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(unused.is_empty(), "arrows that no code uses: {unused:#?}");
}

#[test]
fn arrows_run_down_the_table_only() {
    let table = table();
    for (place, (from, may_use)) in table.iter().enumerate() {
        for to in may_use {
            let below = table[place + 1..].iter().any(|(name, _)| name == to);
            assert!(below, "{from} -> {to} does not run down");
        }
    }
}

#[test]
fn the_table_lists_what_is_in_src() {
    let listed: BTreeSet<String> = table().into_iter().map(|(name, _)| name).collect();
    let present: BTreeSet<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, present);
}

#[test]
fn no_module_passes_on_what_belongs_to_another() {
    let (_, passing_on) = arrows();
    assert_eq!(passing_on, Vec::<PathBuf>::new(), "`pub use` of another module's items hides an arrow");
}

#[test]
fn every_way_to_write_an_import_is_seen() {
    let cases = [
        ("use crate::settings::Config;", vec!["settings"]),
        ("use crate::{http, retry::{Clock, policy}};", vec!["http", "retry"]),
        ("fn f() { crate::settings::read() }", vec!["settings"]),
        ("fn f() { info!(\"{}\", crate::settings::read()); }", vec!["settings"]),
        ("use super::super::settings::Config;", vec!["settings"]),
        ("mod tests { use super::super::super::settings::Config; }", vec!["settings"]),
        ("mod tests { use super::super::settings::Config; }", vec![]),
        ("use super::settings;", vec![]),
        ("use crate::delivery::worker;", vec![]),
        ("// use crate::settings\nconst A: &str = \"crate::settings\";", vec![]),
    ];
    for (text, expected) in cases {
        let found = imports_of(text, &["delivery", "worker"]);
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(found, Imports { used: expected, passed_on: BTreeSet::new() }, "{text}");
    }
}

#[test]
fn a_re_export_is_seen() {
    for text in ["pub use crate::settings::Config;", "pub(crate) use super::super::settings::Config;"] {
        assert_eq!(imports_of(text, &["delivery", "worker"]).passed_on, BTreeSet::from(["settings".to_owned()]));
    }
    assert!(imports_of("pub use worker::Worker; use crate::braze::Verdict;", &["delivery"]).passed_on.is_empty());
}

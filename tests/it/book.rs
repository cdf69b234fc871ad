//! The book: README.md, CONTRIBUTING.md, docs/ and the pages of workflows/. Runs the commands that they show, and compares the output.
//!
//! CONTRIBUTING.md explains how to write a page for this.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use regex_lite::Regex;
use serde_json::{Map, Value};
use td_braze_cohort::commands::cli::Cli;
use td_braze_cohort::commands::digdag;
use td_braze_cohort::settings::{Config, yaml};

mod page;
mod shell;

use page::{Block, Page, pages, top};
use shell::{Shell, steady};

/// Commands that are shown but not run here, each with the reason, or where it runs instead.
const ELSEWHERE: &str = "
cargo build --locked                             # builds what this test runs
cargo test --locked                              # runs this test
cargo test --locked --lib input::                 # a part of the tests
cargo test --locked --test it proxy              # a part of the tests
scripts/check                                    # runs this test, and all else
cargo bench --locked                             # says nothing on a machine that runs tests
scripts/bench --quick                            # as above, and takes minutes
scripts/bench --big                              # as above
scripts/bench --list                             # as above; names alone
scripts/bench --big --write-docs                 # as above; writes into the book
UPDATE_SETTINGS=1 cargo test --locked --lib settings::schema  # as below
UPDATE_MESSAGES=1 cargo test --locked --test it messages  # writes what the test of this name compares
scripts/browser --picture                        # writes into the book; scripts/check runs it without the flag
export BRAZE_ENDPOINT=http://127.0.0.1:4000      # as below
export BRAZE_CLIENT_SECRET=sandbox-client-secret BRAZE_PARTNER_API_KEY=sandbox-partner-key  # as below
export BRAZE_ENDPOINT=US-03                      # the sandbox is in the environment
read -rsp 'data import key: ' BRAZE_CLIENT_SECRET && export BRAZE_CLIENT_SECRET  # as above
read -rsp 'partner key: ' BRAZE_PARTNER_API_KEY && export BRAZE_PARTNER_API_KEY  # as above
td-braze-cohort sandbox --users users.csv &      # a fixed port; scripts/smoke starts it on a free one
digdag run local_sh.dig --rerun -c secrets.properties    # scripts/smoke, with the real engine
digdag run local_py.dig --rerun -c secrets.properties    # scripts/smoke, with the real engine
td-braze-cohort init braze_gold --cohort-id gold_members --endpoint US-03 --site us  # init.rs; the test's binary needs a newer glibc
curl 'http://127.0.0.1:4000/search?identifier=ann@example.com'  # as below
curl http://127.0.0.1:4000/cohorts/sample_members         # scripts/smoke asks the same; its paths: sandbox_command.rs
";

/// Flags in the text that are not ours but Digdag's or those of our scripts.
const FOREIGN_FLAGS: [&str; 5] = ["--local", "--project", "--resume", "--session", "--quick"];

/// The commands of a block: lines without their comments, joined if they end with a backslash.
fn commands(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    let bare = joined.lines().map(|line| line.split("  #").next().unwrap_or_default().trim().to_owned());
    bare.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn is_elsewhere(command: &str) -> bool {
    commands(ELSEWHERE).iter().any(|known| known == command)
}

/// Runs a block and compares what it prints with the block that follows it.
fn run(shell: &Shell, block: &Block, next: Option<&Block>) -> Result<(), String> {
    let here: Vec<_> = commands(&block.text).into_iter().filter(|command| !is_elsewhere(command)).collect();
    if here.is_empty() {
        return Ok(());
    }
    let ended = shell.run(&here.join("\n"));
    let (at, exit, printed) = (&block.at, block.exit, ended.printed);
    if ended.code != Some(exit) {
        return Err(format!("{at}: ended with {:?}, not {exit}:\n{printed}\n{}", ended.code, ended.log));
    }
    let Some(Block { at, text, language, file: None, .. }) = next else { return Ok(()) };
    let is_shown = match &**language {
        "text" => printed == steady(text),
        "json" => without_seconds(&printed) == without_seconds(text),
        _ => true,
    };
    if is_shown { Ok(()) } else { Err(format!("{at}: shown is\n{text}\nbut printed was\n{printed}")) }
}

fn without_seconds(text: &str) -> Option<Value> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    value.as_object_mut()?.remove("seconds");
    Some(value)
}

/// Runs all blocks of a page in their order.
fn failures(page: &Page) -> Vec<String> {
    let shell = Shell::new(&page.path);
    let mut failed = Vec::new();
    for (index, block) in page.blocks.iter().enumerate() {
        if let Some(file) = &block.file {
            shell.write(file, &block.text);
        }
        let follows_commands = index > 0 && page.blocks[index - 1].language == "sh";
        let tried = match &*block.language {
            "sh" => run(&shell, block, page.blocks.get(index + 1)),
            "text" if !follows_commands => Err(format!("{}: no command prints this", block.at)),
            "json" => {
                serde_json::from_str::<Value>(&block.text).map(drop).map_err(|error| format!("{}: {error}", block.at))
            }
            "text" | "yaml" | "csv" | "sql" => Ok(()),
            "" if !block.text.contains("td-braze-cohort ") => Ok(()),
            language => Err(format!("{}: {language:?} is no language that is tried", block.at)),
        };
        failed.extend(tried.err());
    }
    let outside = page.text.iter().filter(|(_, text)| text.starts_with("td-braze-cohort "));
    failed.extend(outside.map(|(at, _)| format!("{at}: a command outside a block")));
    failed
}

#[test]
fn every_command_in_the_book_runs_and_prints_what_is_shown() {
    let pages = pages();
    let failed: Vec<_> = pages.iter().flat_map(failures).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    let shown = pages.iter().flat_map(|page| &page.blocks).filter(|block| block.language == "sh");
    let shown: BTreeSet<_> = shown.flat_map(|block| commands(&block.text)).collect();
    for command in commands(ELSEWHERE) {
        assert!(shown.contains(&command), "{command:?} is in no page any more");
    }
}

/// The failures of a page with this text.
fn failure_of(text: &str) -> String {
    failures(&Page::parse(Path::new("docs/mutant.md"), text)).join("\n")
}

#[test]
fn a_page_that_says_something_else_is_found_out() {
    let right = "```sh\ncd workflows/local\ntd-braze-cohort upload cohort.yml --dry-run > report; head -n 2 report\n```\n\n\
                 ```text\ncohort sample_members (add): dry run, nothing was sent; 8 identifiers\npartner                         treasure_data\n```\n";
    assert_eq!(failure_of(right), "");
    for (from, to, found) in [
        ("upload", "uplaod", "docs/mutant.md:1: ended with Some(2), not 0:\nerror: unrecognized subcommand 'uplaod'"),
        ("--dry-run", "--dryrun", "unexpected argument '--dryrun'"),
        ("cohort.yml", "cohorts.yml", "the config file cohorts.yml cannot be read"),
        ("; 8", "; 9", "docs/mutant.md:6: shown is"),
        ("dry run,", "dry run:", "docs/mutant.md:6: shown is"),
        ("```sh\n", "```sh exit=3\n", "ended with Some(0), not 3"),
        ("```sh", "```bash", "docs/mutant.md:1: \"bash\" is no language that is tried"),
        ("```sh\n", "", "docs/mutant.md:2: a command outside a block"),
        ("```sh\n", "```text\n", "docs/mutant.md:1: no command prints this"),
    ] {
        let failure = failure_of(&right.replace(from, to));
        assert!(failure.contains(found), "{from} as {to}: {failure}");
    }
}

/// Whether clap takes a command line of ours; a pipe, a redirection or `&` ends it.
fn parses(command: &str) -> Result<(), String> {
    let words = command.split_whitespace().take_while(|word| !["|", ">", "<", "&", "&&"].contains(word));
    let words: Vec<_> = words.collect();
    let taken = Cli::command().try_get_matches_from(&words).map(drop);
    taken.or_else(|error| if error.use_stderr() { Err(error.to_string()) } else { Ok(()) })
}

fn long_flags(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(|name| format!("--{name}"));
    own.chain(command.get_subcommands().flat_map(long_flags))
        .chain(["--help".to_owned(), "--version".to_owned()])
        .collect()
}

#[test]
fn every_command_and_flag_within_the_text_is_one_of_ours() {
    let flags = long_flags(&Cli::command());
    let mut failed = Vec::new();
    let elsewhere = commands(ELSEWHERE).into_iter().map(|command| ("ELSEWHERE".to_owned(), command));
    for (at, code) in pages().into_iter().flat_map(|page| page.code).chain(elsewhere) {
        let first = code.split([' ', '=']).next().unwrap_or_default();
        if first == "td-braze-cohort" && code.contains(' ') {
            failed.extend(parses(&code).err().map(|error| format!("{at}: {code}: {error}")));
        } else if first.starts_with("--") && !flags.contains(first) && !FOREIGN_FLAGS.contains(&first) {
            failed.push(format!("{at}: there is no flag {first}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Whether a YAML block is part of a workflow rather than a file of settings.
fn is_workflow(yaml: &Map<String, Value>) -> bool {
    yaml.keys().any(|key| key.starts_with(['+', '_']) || key.ends_with('>'))
}

/// A file of settings, or some lines of one. Missing required settings are added; variables that a workflow fills in become 1.
fn check_settings(yaml: &Map<String, Value>) -> Result<(), String> {
    let mut whole = yaml.clone();
    for (key, other, value) in [
        ("cohort_id", "cohort_id", "some"),
        ("operation", "operation_column", "add"),
        ("input", if yaml.contains_key("table") { "table" } else { "job_id" }, "members.csv"),
    ] {
        if !whole.contains_key(key) && !whole.contains_key(other) {
            whole.insert(key.to_owned(), value.into());
        }
    }
    if whole.get("operation").is_some_and(|operation| operation == "mirror") && !whole.contains_key("table") {
        whole.remove("input");
        whole.insert("table".to_owned(), "some.members".into());
    }
    if whole.contains_key("mapping") && !whole.contains_key("aliases") {
        whole.insert("aliases".to_owned(), "email".into());
    }
    let text = Value::Object(whole).to_string();
    let text = Regex::new(r#""\$\{[^}]*\}""#).unwrap().replace_all(&text, "1");
    let layer = yaml::read(Path::new("page.yml"), text.as_bytes()).map_err(|error| error.to_string())?;
    Config::check(&layer, false).map(drop).map_err(|error| error.to_string())
}

/// A task, and the tasks within it.
fn check_task(task: &Map<String, Value>) -> Result<(), String> {
    if let Some(command) = task.get("sh>").and_then(Value::as_str).filter(|it| it.starts_with("td-braze-cohort ")) {
        parses(command)?;
    }
    let python = task.get("python").and_then(Value::as_array);
    if python.is_some_and(|words| words[0].as_str().is_some_and(|program| program.ends_with("td-braze-cohort"))) {
        let sorted = digdag::sort(task).map_err(|error| error.to_string())?;
        if sorted.settings.is_empty() && sorted.config.is_none() {
            return Err("the task has no settings".to_owned());
        }
        let known = ["py>", "python", "docker", "braze_cohort"];
        if let Some(key) = task.keys().find(|key| !key.starts_with('_') && !known.contains(&key.as_str())) {
            return Err(format!("{key} is outside of the map braze_cohort"));
        }
    }
    task.values().filter_map(Value::as_object).try_for_each(check_task)
}

#[test]
fn every_yaml_block_is_settings_that_are_taken_or_a_workflow_whose_tasks_are() {
    let (mut failed, mut settings, mut workflows) = (Vec::new(), 0, 0);
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            let checked = match serde_yaml::from_str::<Map<String, Value>>(&block.text) {
                Err(error) => Err(error.to_string()),
                Ok(yaml) if is_workflow(&yaml) => {
                    workflows += 1;
                    check_task(&yaml)
                }
                Ok(yaml) => {
                    settings += 1;
                    check_settings(&yaml)
                }
            };
            failed.extend(checked.err().map(|error| format!("{}: {error}", block.at)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(settings > 3 && workflows > 3, "{settings} settings, {workflows} workflows");
}

/// The target of a link, if it exists.
fn resolved(page: &Path, target: &str) -> Option<PathBuf> {
    let page = top().join(page);
    if target.is_empty() { Some(page) } else { page.parent()?.join(target).canonicalize().ok() }
}

#[test]
fn every_link_leads_somewhere_and_the_table_of_contents_has_every_page() {
    let pages = pages();
    let mut failed = Vec::new();
    let mut listed = BTreeSet::new();
    for page in &pages {
        for (at, link) in page.links.iter().filter(|(_, link)| !link.starts_with("http")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = resolved(&page.path, target);
            let there = pages.iter().find(|page| path == Some(top().join(&page.path)));
            let has_anchor = there.is_some_and(|page| page.anchors.iter().any(|known| known == anchor));
            if path.is_none() || !(anchor.is_empty() || has_anchor) {
                failed.push(format!("{at}: {link} leads nowhere"));
            }
            if page.path == Path::new("docs/README.md") {
                listed.extend(path);
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let documents = pages.iter().filter(|page| page.path.starts_with("docs") && !page.path.ends_with("README.md"));
    let missing: Vec<_> = documents.map(|page| &page.path).filter(|path| !listed.contains(&top().join(path))).collect();
    assert!(missing.is_empty(), "docs/README.md leaves out {missing:?}");
}

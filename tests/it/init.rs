//! `init`: a whole project, or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::json;
use td_braze_cohort::commands::init::workflows;
use tempfile::TempDir;

use crate::support::{Run, user_ids};

/// A substitute for a released binary: the header and the words that `init` looks at.
fn program(machine: u8, glibc: &str) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01".to_vec();
    bytes.resize(18, 0);
    bytes.extend([machine, 0]);
    bytes.extend(format!("BRAZE_PARTNER_API_KEY\0GLIBC_2.2.5\0GLIBC_{glibc}\0").bytes());
    bytes
}

fn init(folder: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_td-braze-cohort")).arg("init").args(args).current_dir(folder).output().unwrap()
}

fn good() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("program"), program(0x3e, "2.17")).unwrap();
    folder
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All files below a folder.
fn files(folder: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    Box::new(entries.flat_map(|path| if path.is_dir() { files(&path) } else { Box::new(std::iter::once(path)) }))
}

/// Each hosted project has its own copy, because a project is pushed alone.
#[test]
fn every_hosted_project_has_the_same_rows_of_failures_and_lists_them_in_the_same_way() {
    let read = |project: &str, file: &str| {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows");
        fs::read_to_string(top.join(project).join("queries").join(file)).unwrap()
    };
    for file in ["failed.sql", "last_30_days.sql"] {
        for project in ["mirror", "activation", "many_cohorts"] {
            assert_eq!(read(project, file), read("upload", file), "{project}: {file}");
        }
    }
}

#[test]
fn what_is_given_is_filled_in_and_the_rest_is_there() {
    let folder = good();
    let given = ["--cohort-id", "cohort-zqx", "--endpoint", "EU-01", "--site", "eu01", "--binary", "program"];
    let output = init(&folder, &[&["gold_zqx"][..], &given[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let root = folder.path().join("gold_zqx");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    assert!(
        read("config/cohort.yml")
            .starts_with("# yaml-language-server: $schema=config.schema.json\ncohort_id: \"cohort-zqx\"\n")
    );
    let dig = read("mirror.dig");
    assert!(
        dig.contains("braze_endpoint: \"EU-01\"\n") && dig.contains("\"https://api.eu01.treasuredata.com\""),
        "{dig}"
    );
    assert!(dig.contains("BRAZE_ENDPOINT: ${braze_endpoint}\n") && !dig.contains("\nschedule:"), "{dig}");
    assert_eq!(read("tdx.json"), "{\"workflow_project\": \"gold_zqx\"}\n");
    assert!(read("config/config.schema.json").contains("cohort_id"));
    assert_eq!(fs::read(root.join("bin/td-braze-cohort")).unwrap(), program(0x3e, "2.17"));
    let said = String::from_utf8(output.stdout).unwrap();
    for step in
        ["td wf push gold_zqx", "tdx wf push", "--set td.apikey", "start gold_zqx mirror", "braze_cohort.dry_run=true"]
    {
        assert!(said.contains(step), "{step}: {said}");
    }
    let marked: Vec<_> = said.lines().filter(|line| line.contains("<your ")).map(str::trim).collect();
    let left = [
        "mirror.dig, line 13: database: \"<your database>\"",
        "mirror.dig, line 17: mail_to: \"<your mail address>\"",
        "mirror.dig, line 21: create_table: \"<your table>\"",
        "config/cohort.yml, line 4: table: \"<your database.table>\"",
        "queries/members.sql, line 8: \"<your table>\"",
    ];
    assert_eq!(marked, left);
    assert_eq!(names_in(folder.path()), ["gold_zqx", "program"]);
}

#[test]
fn every_workflow_can_be_written_and_its_placeholders_are_named() {
    let folder = good();
    for name in workflows() {
        let output = init(&folder, &[name, "--workflow", name, "--binary", "program"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("<your cohort ID>"), "{name}: {output:?}");
        let root = folder.path().join(name);
        assert_eq!(root.join("bin").exists(), name != "local");
        for file in
            files(&root).filter(|file| ["dig", "sql"].iter().any(|end| file.extension().is_some_and(|it| it == *end)))
        {
            let text = fs::read_to_string(&file).unwrap();
            let example =
                ["marketing", "\"customers\"", "gold_members", "example.com"].into_iter().find(|it| text.contains(it));
            assert_eq!(example, None, "{}", file.display());
        }
    }
}

#[test]
fn a_placeholder_is_named_by_a_check_and_a_run() {
    let folder = good();
    assert!(init(&folder, &["gold_zqx", "--workflow", "upload", "--binary", "program"]).status.success());
    let config = fs::read_to_string(folder.path().join("gold_zqx/config/cohort.yml")).unwrap();
    for run in [Run::check(), Run::upload()] {
        run.config(&config).rows(user_ids(1)).exits(2).says(&["line 2", "cohort_id is still the placeholder"]);
    }
    Run::upload()
        .unset("endpoint")
        .env("BRAZE_ENDPOINT", "<your Braze endpoint, such as US-03>")
        .rows(user_ids(1))
        .exits(2)
        .says(&["BRAZE_ENDPOINT", "placeholder"]);
    let parameters = json!({"mail_to": "<your mail address>", "braze_cohort": {"cohort_id": "a", "operation": "add"}});
    Run::workflow(&parameters).exits(2).says(&["parameters: mail_to is still the placeholder"]);
}

#[rstest]
#[case::exists(&["program"], "exists")]
#[case::a_name(&["a b"], "must end with a name")]
#[case::several(&["new", "--workflow", "many_cohorts", "--cohort-id", "x"], "several cohorts")]
#[case::arm(&["new", "--binary", "arm"], "is no program for Linux x86-64")]
#[case::young(&["new", "--binary", "young"], "needs glibc 2.34")]
#[case::script(&["new", "--binary", "script"], "--binary FILE")]
#[case::none(&["new", "--binary", "none"], "cannot be read")]
fn what_cannot_be_done_is_said_and_nothing_is_written(#[case] args: &[&str], #[case] why: &str) {
    let folder = good();
    for (name, content) in
        [("arm", program(0xb7, "2.17")), ("young", program(0x3e, "2.34")), ("script", b"#!/bin/sh\n".to_vec())]
    {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let before = names_in(folder.path());
    let binary: &[&str] = if args.contains(&"--binary") { &[] } else { &["--binary", "program"] };
    let output = init(&folder, &[args, binary].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains(why), "{said}");
    assert_eq!(names_in(folder.path()), before);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn the_systems_loader_runs_the_program_without_its_executable_bit() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("td-braze-cohort");
    fs::copy(env!("CARGO_BIN_EXE_td-braze-cohort"), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Command::new(&copy).arg("schema").output().is_err());
    let output = Command::new("/lib64/ld-linux-x86-64.so.2").arg(&copy).arg("schema").output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("cohort_id"), "{output:?}");
}

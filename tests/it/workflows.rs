//! The workflows to copy, as they are written.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

type Task = Map<String, Value>;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let in_each = entries.flat_map(|path| if path.is_dir() { files(&path, extension) } else { vec![path] });
    in_each.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

/// Whether a task uploads the result of the `td>` before it, by its parameters or by its config file.
fn uploads_a_job(task: &Task, folder: &Path) -> bool {
    let text = Value::Object(task.clone()).to_string();
    let is_ours = text.contains("td-braze-cohort");
    let names_it = |text: &str| text.contains("${td.last_job");
    let configs = files(folder, "yml").into_iter().map(|path| fs::read_to_string(path).unwrap());
    is_ours
        && (task.contains_key("py>") || task.contains_key("sh>"))
        && (names_it(&text) || configs.into_iter().any(|text| names_it(&text)))
}

/// Uploads of a job within a task; the error names one that has no `td>` right before it under the same parent.
fn uploads(parent: &Task, folder: &Path) -> Result<usize, String> {
    let mut found = 0;
    let mut before = None;
    for (name, task) in parent {
        let Some(task) = task.as_object() else { continue };
        if uploads_a_job(task, folder) {
            found += 1;
            if !before.is_some_and(|before: &Task| before.contains_key("td>")) {
                return Err(name.clone());
            }
        }
        found += uploads(task, folder)?;
        if name.starts_with('+') {
            before = Some(task);
        }
    }
    Ok(found)
}

#[test]
fn query_and_upload_stand_side_by_side_so_that_a_resume_gets_the_right_job() {
    let found = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows"), "dig").into_iter().map(|path| {
        let tasks: Task = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        match uploads(&tasks, path.parent().unwrap()) {
            Ok(found) => found,
            Err(name) => panic!("{}: what {name} uploads is not of the td> right before it", path.display()),
        }
    });
    assert!(found.sum::<usize>() > 0);
}

#[test]
fn a_query_elsewhere_is_noticed() {
    let upload =
        "{py>: braze_cohort, python: [td-braze-cohort, operator], braze_cohort: {job_id: '${td.last_job_id}'}}";
    for (tasks, is_right) in [
        (format!("+a: {{td>: q.sql}}\n+b: {upload}"), true),
        (format!("+a: {{td>: q.sql}}\n+b: {{echo>: x}}\n+c: {upload}"), false),
        (format!("+g: {{+a: {{td>: q.sql}}}}\n+b: {upload}"), false),
        (format!("+a: {{td>: q.sql}}\n+g: {{+b: {upload}}}"), false),
    ] {
        let tasks: Task = serde_yaml::from_str(&tasks).unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(uploads(&tasks, folder.path()).is_ok(), is_right);
    }
}

//! The shell in which the commands of a page run: a directory as after a clone, our binary on PATH, a sandbox for Braze.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::page::top;
use crate::support::{PARTNER_KEY, SECRET, braze};

/// What the pages name as the endpoint.
const SHOWN_ENDPOINT: &str = "https://rest.iad-03.braze.com";
/// Builds nothing: `cargo run … -- ARGUMENTS` is our binary with these arguments.
const CARGO: &str = "#!/bin/sh
[ \"$1\" = run ] || { echo \"only cargo run\" >&2; exit 64; }
while [ \"$1\" != -- ]; do shift; done
shift
exec td-braze-cohort \"$@\"
";
const HANGS: Duration = Duration::from_mins(2);

/// The shell of one page. Files that a block leaves are there for the next one; variables are not.
pub struct Shell {
    scratch: TempDir,
    /// Where a block begins: at the top of the clone, or in the folder of a page in `workflows/`.
    begins: PathBuf,
    sandbox: td_braze_cohort::sandbox::Sandbox,
}

/// How a block ended.
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output, and what is on standard error beside the log; without what differs from run to run.
    pub printed: String,
    pub log: String,
}

impl Shell {
    /// For this page.
    pub fn new(page: &Path) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (bin, clone) = (scratch.path().join("bin"), scratch.path().join("clone"));
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_td-braze-cohort"), bin.join("td-braze-cohort")).unwrap();
        fs::write(bin.join("cargo"), CARGO).unwrap();
        fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["docs", "workflows"] {
            copy(&top().join(folder), &clone.join(folder));
        }
        let begins = if page.starts_with("workflows") { clone.join(page.parent().unwrap()) } else { clone };
        Self { scratch, begins, sandbox: braze() }
    }

    /// Writes a file that the page shows.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.begins.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs the commands of a block.
    pub fn run(&self, script: &str) -> Ended {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.scratch.path().join("bin").display());
        let output = assert_cmd::Command::new("bash")
            .args(["-eu", "-c", script])
            .current_dir(&self.begins)
            .env_clear()
            .env("PATH", path)
            .env("BRAZE_ENDPOINT", self.sandbox.endpoint())
            .env("BRAZE_CLIENT_SECRET", SECRET)
            .env("BRAZE_PARTNER_API_KEY", PARTNER_KEY)
            .timeout(HANGS)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&self.sandbox.endpoint(), SHOWN_ENDPOINT);
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        let (log, said): (Vec<_>, Vec<_>) = stderr.lines().partition(|line| is_logged(line));
        let printed = steady(&format!("{stdout}{}", said.join("\n")));
        Ended { code: output.status.code(), printed, log: log.join("\n") }
    }
}

/// A log line begins with the time.
fn is_logged(line: &str) -> bool {
    line.split(' ').next().is_some_and(|first| first.parse::<jiff::Timestamp>().is_ok())
}

/// With `N` for the seconds that something took.
pub fn steady(text: &str) -> String {
    let lines = text.trim_end().lines().map(|line| match line.strip_prefix("seconds ") {
        Some(value) if value.trim().parse::<f64>().is_ok() => "seconds N",
        _ => line.trim_end(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        // What Digdag leaves where somebody ran a workflow is not part of a clone.
        if entry.file_name() == ".digdag" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

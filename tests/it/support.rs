//! Starts the real binary in a directory of its own, with an environment that holds what the test sets and nothing else.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use td_braze_cohort::sandbox::{self, Options, Sandbox};
use td_braze_cohort::settings::{Config, yaml};
use tempfile::TempDir;

use crate::report::Report;

/// The data import key that [`braze`] accepts.
pub const SECRET: &str = "hush-data-import-key-4711";
/// The partner key that [`braze`] accepts.
pub const PARTNER_KEY: &str = "hush-partner-key-4712";
/// The REST API key that [`braze`] accepts.
pub const REST_KEY: &str = "hush-rest-api-key-4714";
/// The key that the stand-in for Treasure Data accepts.
pub const TD_KEY: &str = "1/hush-td-key-4713";

const BINARY: &str = env!("CARGO_BIN_EXE_td-braze-cohort");
/// Far longer than any test: a run that hangs fails instead of blocking everything.
const HANGS: Duration = Duration::from_mins(2);

/// A sandbox on a free port.
pub fn braze() -> Sandbox {
    braze_with(|_| {})
}

/// A sandbox that is slow or fails.
pub fn braze_with(change: impl FnOnce(&mut Options)) -> Sandbox {
    let mut options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        client_secret: SECRET.to_owned(),
        partner_api_key: PARTNER_KEY.to_owned(),
        rest_api_key: REST_KEY.to_owned(),
        partner: Some("treasure_data".to_owned()),
        users: None,
        latency: Duration::ZERO,
        fail_every: None,
        rate_limit: None,
        page: false,
    };
    change(&mut options);
    sandbox::start(options).unwrap()
}

/// Asserts that nothing at all was asked of it.
#[track_caller]
pub fn assert_untouched(braze: &Sandbox) {
    assert_eq!(braze.stats().connections, 0, "a request was sent: {:?}", braze.stats());
}

/// `count` rows with one external ID each, `u0` and so on.
pub fn user_ids(count: usize) -> String {
    let rows = (0..count).map(|number| format!("u{number}\r\n"));
    std::iter::once("user_ids\r\n".to_owned()).chain(rows).collect()
}

/// One run of the binary, as it is put together.
pub struct Run {
    directory: TempDir,
    args: Vec<String>,
    settings: Option<Vec<(String, String)>>,
    environment: Vec<(String, String)>,
    stdin: Vec<u8>,
    shell: Option<String>,
}

impl Run {
    /// `upload cohort.yml`, which adds `members.csv` to the cohort `vip`, with the right credentials.
    pub fn upload() -> Self {
        Self::with_config("upload")
    }

    /// `check cohort.yml`, for the same.
    pub fn check() -> Self {
        Self::with_config("check")
    }

    /// `match cohort.yml`, for the same, with the right key.
    pub fn asking() -> Self {
        Self::with_config("match").env("BRAZE_REST_API_KEY", REST_KEY)
    }

    fn with_config(command: &str) -> Self {
        let mut run = Self::command(&[command, "cohort.yml"]);
        run.settings = Some(Vec::new());
        run.set("cohort_id", "vip").set("operation", "add").set("input", "members.csv")
    }

    /// `operator`, called as Digdag does it, with these settings in the task's map.
    pub fn operator(settings: &Value) -> Self {
        Self::workflow(&serde_json::json!({ "braze_cohort": settings }))
    }

    /// The same with any parameters.
    pub fn workflow(parameters: &Value) -> Self {
        let input = serde_json::json!({ "params": parameters }).to_string();
        Self::command(&["operator", "runner.py", "braze_cohort", "in.json", "out.json"]).file("in.json", input)
    }

    /// Any other command.
    pub fn command(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let run = Self { directory, args, settings: None, environment: Vec::new(), stdin: Vec::new(), shell: None };
        // The most detailed log, so that each test of hidden text also covers the log.
        run.env("BRAZE_CLIENT_SECRET", SECRET).env("BRAZE_PARTNER_API_KEY", PARTNER_KEY).env("RUST_LOG", "trace")
    }

    /// In the directory of an earlier run, with the files that it left.
    pub fn inside(mut self, directory: TempDir) -> Self {
        self.directory = directory;
        self
    }

    /// Where it will run.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Started by this shell script, which ends with `exec "$0" "$@"`.
    pub fn in_shell(mut self, script: &str) -> Self {
        self.shell = Some(script.to_owned());
        self
    }

    /// Its settings as the library takes them.
    pub fn parsed_config(&self) -> Config {
        let settings = self.settings.as_deref().unwrap_or_default();
        let text: String = settings.iter().flat_map(|(key, value)| [key, ": ", value, "\n"]).collect();
        Config::check(&yaml::read(Path::new("cohort.yml"), &text).unwrap(), false).unwrap()
    }

    /// Sends to this sandbox.
    pub fn to(self, braze: &Sandbox) -> Self {
        self.set("endpoint", &braze.endpoint())
    }

    /// Writes a setting into `cohort.yml`, in place of the same one.
    pub fn set(self, key: &str, value: &str) -> Self {
        let mut run = self.unset(key);
        run.settings.get_or_insert_default().push((key.to_owned(), value.to_owned()));
        run
    }

    /// Leaves a setting out.
    pub fn unset(mut self, key: &str) -> Self {
        self.settings.get_or_insert_default().retain(|(name, _)| name != key);
        self
    }

    /// This `cohort.yml` and no other.
    pub fn config(mut self, text: &str) -> Self {
        self.settings = None;
        self.file("cohort.yml", text)
    }

    /// Writes `members.csv`.
    pub fn rows(self, rows: impl AsRef<[u8]>) -> Self {
        self.file("members.csv", rows)
    }

    /// Writes a file.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.directory.path().join(name), content).unwrap();
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets a variable, in place of the same one.
    pub fn env(self, name: &str, value: &str) -> Self {
        let mut run = self.without_env(name);
        run.environment.push((name.to_owned(), value.to_owned()));
        run
    }

    /// Leaves a variable out.
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// Leaves both credentials out.
    pub fn without_credentials(self) -> Self {
        self.without_env("BRAZE_CLIENT_SECRET").without_env("BRAZE_PARTNER_API_KEY")
    }

    /// Its standard input.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    /// Runs to the end and asserts the exit code, that no credential is in the output, and that a failure is explained.
    #[track_caller]
    pub fn exits(self, code: i32) -> Outcome {
        self.write_settings();
        let output = assert_cmd::Command::from_std(self.program())
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.clone())
            .write_stdin(self.stdin)
            .timeout(HANGS)
            .output()
            .unwrap();
        let outcome = Outcome {
            directory: self.directory,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert_eq!(output.status.code(), Some(code), "{outcome}");
        assert!(code == 0 || !outcome.stderr.trim().is_empty(), "no word about exit code {code}{outcome}");
        outcome.hides(&[SECRET, PARTNER_KEY, TD_KEY, REST_KEY])
    }

    /// Starts it without waiting. Keep the directory until it ends.
    pub fn spawn(self) -> (Child, TempDir) {
        self.spawn_with(Stdio::null())
    }

    /// The same, with this as standard input.
    pub fn spawn_with(self, stdin: Stdio) -> (Child, TempDir) {
        self.write_settings();
        let child = self
            .program()
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        (child, self.directory)
    }

    fn program(&self) -> Command {
        let mut command = Command::new(if self.shell.is_some() { "/bin/sh" } else { BINARY });
        if let Some(script) = &self.shell {
            command.args(["-c", script, BINARY]);
        }
        command.args(&self.args);
        command
    }

    fn write_settings(&self) {
        if let Some(settings) = &self.settings {
            let text: String = settings.iter().flat_map(|(key, value)| [key, ": ", value, "\n"]).collect();
            fs::write(self.directory.path().join("cohort.yml"), text).unwrap();
        }
    }
}

/// Asks a process that the test started to end.
pub fn terminate(child: &Child) {
    signal(child, "TERM");
}

/// Sends a signal to a process that the test started.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status().unwrap();
    assert!(status.success());
}

/// Waits until a condition holds, while the process goes on.
#[track_caller]
pub fn wait_while_running(child: &mut Child, what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before {what}");
        assert!(started.elapsed() < HANGS, "it hangs before {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for the end of a process that is to end at once: its exit code and what it printed, and how long it took.
#[track_caller]
pub fn ends(mut child: Child) -> (Option<i32>, Ended) {
    let (stdout, stderr) = (read_in_a_thread(child.stdout.take()), read_in_a_thread(child.stderr.take()));
    let (code, took) = ends_unread(&mut child);
    let text = |reader: JoinHandle<Vec<u8>>| String::from_utf8(reader.join().unwrap()).unwrap();
    (code, Ended { stdout: text(stdout), stderr: text(stderr), took })
}

/// The same, without reading its output.
pub fn ends_unread(child: &mut Child) -> (Option<i32>, Duration) {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < HANGS {
        thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed();
    child.kill().ok();
    (child.wait().unwrap().code(), took)
}

fn read_in_a_thread(output: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        output.map(|mut output| output.read_to_end(&mut bytes).unwrap());
        bytes
    })
}

/// What is left of a process that has ended.
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// What a run left behind.
pub struct Outcome {
    directory: TempDir,
    pub stdout: String,
    pub stderr: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

impl Outcome {
    /// Asserts that standard error holds each of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in standard error{self}");
        }
        self
    }

    /// Asserts that standard output holds each of these.
    #[track_caller]
    pub fn prints(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stdout.contains(word), "{word:?} is not in standard output{self}");
        }
        self
    }

    /// Asserts that neither output holds any of these.
    #[track_caller]
    pub fn hides(self, texts: &[&str]) -> Self {
        for text in texts {
            // Ports, times and the names of temporary folders may hold any few letters and digits.
            let is_rare = text.len() > 5 || text.contains(['-', '@']);
            assert!(is_rare && text.contains(char::is_alphabetic), "{text:?} may come up by chance");
            assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "{text:?} was printed{self}");
        }
        self
    }

    /// The report that `--json` prints; asserts that it adds up.
    #[track_caller]
    pub fn report(&self) -> Report {
        Report::read(&self.stdout)
    }

    /// What the operator wrote into OUTPUT.json; asserts that no credential is in it.
    #[track_caller]
    pub fn output(&self) -> Value {
        let text = fs::read_to_string(self.path().join("out.json")).expect("out.json was not written");
        assert!(
            ![SECRET, PARTNER_KEY, TD_KEY, REST_KEY].iter().any(|key| text.contains(key)),
            "a credential is in out.json: {text}"
        );
        serde_json::from_str(&text).unwrap()
    }

    /// Where it ran.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

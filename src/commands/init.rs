//! `td-braze-cohort init DIR`: a whole workflow project, ready to push.
//!
//! The templates are the projects of `workflows/`, so they are tested.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use memchr::memmem;

use crate::commands::cli::{InitArgs, Site};
use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::http::endpoint::{self, EndpointError};
use crate::settings::{placeholder, problem, schema};
use crate::terminal;

/// The newest glibc in the workflows' container image.
const GLIBC: (u32, u32) = (2, 31);
const BINARY: &str = "bin/td-braze-cohort";
/// How a config names its schema.
const SCHEMA: &str = "# yaml-language-server: $schema=";
const SCHEMA_FILE: &str = "config.schema.json";

/// The table of the example, in queries.
const TABLE: &str = "\"customers\"";

struct Project {
    name: &'static str,
    /// Whether it runs in Treasure Data's containers, where nothing is installed.
    is_hosted: bool,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! projects {
    ($($name:literal $is_hosted:literal [$($file:literal)*])*) => {
        &[$(Project {
            name: $name,
            is_hosted: $is_hosted,
            files: &[$(($file, include_str!(concat!("../../workflows/", $name, "/", $file)))),*],
        }),*]
    };
}

/// The first is the default.
const PROJECTS: &[Project] = projects! {
    "mirror" true [
        "README.md" "mirror.dig" "config/cohort.yml" "queries/members.sql"
        "queries/uploaded.sql" "queries/failed.sql" "queries/last_30_days.sql"
    ]
    "upload" true [
        "README.md" "upload.dig" "config/cohort.yml" "queries/members.sql"
        "queries/uploaded.sql" "queries/failed.sql" "queries/last_30_days.sql"
    ]
    "activation" true [
        "README.md" "activation.dig" "activation_scheduled.dig" "config/cohort.yml"
        "queries/uploaded.sql" "queries/failed.sql" "queries/last_30_days.sql"
    ]
    "many_cohorts" true [
        "README.md" "many_cohorts.dig" "config/gold.yml" "config/silver.yml" "config/free.yml"
        "queries/gold.sql" "queries/silver.sql" "queries/free.sql"
        "queries/reports.sql" "queries/report.sql" "queries/summary.sql"
        "queries/uploaded.sql" "queries/failed.sql" "queries/last_30_days.sql"
    ]
    "local" false [
        "README.md" "local_py.dig" "local_sh.dig" "local_query.dig" "cohort.yml" "members.csv" "users.csv"
        "queries/members.sql"
    ]
};

/// The names that `--workflow` takes; the first is the default.
pub fn workflows() -> Vec<&'static str> {
    PROJECTS.iter().map(|project| project.name).collect()
}

fn wrong(problem: String) -> Stop {
    Stop::Unusable { what: "init:".to_owned(), problem }
}

/// Writes the project to a new folder, either whole or not at all.
pub fn run(args: &InitArgs) -> Result<Exit, Stop> {
    let project = PROJECTS.iter().find(|project| project.name == args.workflow).unwrap_or(&PROJECTS[0]);
    let name = args.dir.file_name().and_then(|name| name.to_str()).filter(|name| is_project_name(name));
    let name =
        name.ok_or_else(|| wrong("DIR must end with a name for the project, of letters, digits, _ and -".to_owned()))?;
    if args.cohort_id.is_some() && project.files.iter().filter(|(file, _)| file.starts_with("config/")).count() > 1 {
        let way_out = "leave --cohort-id out and set cohort_id in each file of config/";
        return Err(wrong(format!("{} has several cohorts: {way_out}", project.name)));
    }
    let problem = args.cohort_id.as_deref().and_then(problem).map(|problem| format!("--cohort-id {problem}"));
    let address = args.endpoint.as_deref().map(|address| endpoint::parse(address.trim(), &[]));
    let refused = match address {
        // It may be allowed later.
        None | Some(Ok(_) | Err(EndpointError::ForeignHost { .. })) => None,
        Some(Err(error)) => Some(format!("--endpoint {error}")),
    };
    if let Some(problem) = problem.or(refused) {
        return Err(wrong(problem));
    }
    let binary = if project.is_hosted { Some(binary(args.binary.as_deref()).map_err(wrong)?) } else { None };
    let marked = write(project, args, binary.as_deref(), name)?;
    terminal::print(&next_steps(project, args, name, &marked));
    Ok(Exit::Success)
}

/// Whether Treasure Data and a shell accept the name unchanged.
fn is_project_name(name: &str) -> bool {
    !name.starts_with('-') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// The program for the project: the given file, or this program, if it can run in the container.
fn binary(given: Option<&Path>) -> Result<Vec<u8>, String> {
    let way_out = "take the one from a release for Linux x86-64 and name it with --binary FILE. Nothing was written";
    let path = given.map_or_else(std::env::current_exe, |path| Ok(path.to_owned()));
    let path = path.map_err(|error| format!("this program cannot be found ({error}): {way_out}"))?;
    let bytes = fs::read(&path).map_err(|error| format!("{} cannot be read ({error}): {way_out}", path.display()))?;
    match unusable(&bytes) {
        Some(why) => Err(format!("{} cannot run in the container, as it {why}: {way_out}", path.display())),
        None => Ok(bytes),
    }
}

/// Why a file cannot be the container's program.
fn unusable(bytes: &[u8]) -> Option<String> {
    /// ELF, 64 bits, little endian; the machine x86-64.
    const HEADER: (&[u8], &[u8]) = (b"\x7fELF\x02\x01", b"\x3e\x00");
    if !bytes.starts_with(HEADER.0) || bytes.get(18..20) != Some(HEADER.1) {
        return Some("is no program for Linux x86-64".to_owned());
    }
    if memmem::find(bytes, b"BRAZE_PARTNER_API_KEY").is_none() {
        return Some("is another program".to_owned());
    }
    let needed = glibc(bytes).filter(|needed| *needed > GLIBC);
    needed.map(|(major, minor)| format!("needs glibc {major}.{minor}, and has at most {}.{} there", GLIBC.0, GLIBC.1))
}

/// The newest version of glibc that its symbols need.
fn glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    let versions = memmem::find_iter(bytes, b"GLIBC_").filter_map(|at| {
        let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        let text: Vec<u8> = bytes[at + 6..].iter().take(12).take_while(|byte| digits(byte)).copied().collect();
        let text = String::from_utf8(text).ok()?;
        let mut numbers = text.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

/// Writes a folder next to the target and renames it, so that no half is left. Returns the lines with placeholders.
fn write(project: &Project, args: &InitArgs, binary: Option<&[u8]>, name: &str) -> Result<Vec<String>, Stop> {
    let failed = |error| Stop::Unwritable { what: args.dir.display().to_string(), error };
    if fs::symlink_metadata(&args.dir).is_ok() {
        return Err(wrong(format!(
            "{} exists, and was not changed: name a folder that does not exist",
            args.dir.display()
        )));
    }
    let parent = args.dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = tempfile::Builder::new().prefix(".init-").tempdir_in(parent).map_err(failed)?;
    let root = beside.path().join(name);
    let put = |file: &str, content: &[u8]| {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(path, content)
    };
    let mut marked = Vec::new();
    for (file, template) in project.files {
        let text = filled(file, template, args);
        let lines = text.lines().zip(1..).filter(|(line, _)| line.contains(placeholder::START));
        marked.extend(lines.map(|(line, number)| format!("{file}, line {number}: {}", line.trim())));
        put(file, text.as_bytes()).map_err(failed)?;
        if template.starts_with(SCHEMA) {
            let beside = Path::new(file).with_file_name(SCHEMA_FILE);
            put(&beside.to_string_lossy(), format!("{:#}\n", schema::schema()).as_bytes()).map_err(failed)?;
        }
    }
    put("tdx.json", format!("{{\"workflow_project\": \"{name}\"}}\n").as_bytes()).map_err(failed)?;
    if let Some(binary) = binary {
        put(BINARY, binary).map_err(failed)?;
        fs::set_permissions(root.join(BINARY), fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    fs::rename(&root, &args.dir).map_err(failed)?;
    Ok(marked)
}

/// The template with the given values, and placeholders for the others.
fn filled(file: &str, template: &str, args: &InitArgs) -> String {
    match Path::new(file).extension().and_then(OsStr::to_str) {
        Some("yml" | "dig") => {}
        Some("sql") => return template.replace(TABLE, &format!("\"{}\"", placeholder::of("table"))),
        _ => return template.to_owned(),
    }
    let set = [
        ("cohort_id", args.cohort_id.as_deref(), "cohort ID"),
        ("braze_endpoint", args.endpoint.as_deref(), "Braze endpoint, such as US-03"),
        ("td_api_server", args.site.map(Site::address), "Treasure Data site, such as https://api.treasuredata.com"),
        ("mail_to", None, "mail address"),
        ("database", None, "database"),
        ("table", None, "database.table"),
        ("create_table", None, "table"),
        ("state_table", None, "database.name of the state's tables"),
        ("activation_actions_db", None, "database"),
        ("activation_actions_table", None, "table"),
    ];
    let line = |line: &str| {
        if line.starts_with(SCHEMA) {
            return format!("{SCHEMA}{SCHEMA_FILE}\n");
        }
        // A value with ${...} is computed from others.
        let indent = line.len() - line.trim_start().len();
        let is_value = |rest: &str| rest.starts_with(": ") && !rest.contains("${");
        let known = set.iter().find(|(name, ..)| line[indent..].strip_prefix(name).is_some_and(is_value));
        let Some((name, value, what)) = known else { return format!("{line}\n") };
        let value = value.map_or_else(|| placeholder::of(what), str::to_owned);
        // A JSON string is a YAML string.
        format!("{}{name}: {}\n", &line[..indent], serde_json::Value::from(value))
    };
    // Without this line the cohort ID is the name; the example's name would be wrong.
    let keeps = |line: &&str| !line.starts_with("cohort_name: ");
    template.lines().filter(keeps).map(line).collect()
}

fn next_steps(project: &Project, args: &InitArgs, name: &str, marked: &[String]) -> String {
    let (dir, workflow) = (args.dir.display(), project.name);
    let mut steps = format!("{dir} has the project {workflow}.\n");
    if !marked.is_empty() {
        steps.extend(["\nTo fill in:\n  ", &marked.join("\n  "), "\n"]);
    }
    if !project.is_hosted {
        return format!("{steps}\nIts README.md has the next steps:\n  cd '{dir}'");
    }
    let secrets = ["td.apikey", "braze.client_secret", "braze.partner_api_key"];
    let td = secrets.map(|secret| format!("  td wf secrets --project {name} --set {secret}\n")).concat();
    let tdx = secrets.map(|secret| format!("  tdx wf secrets set {name} {secret}=...\n")).concat();
    let dry_run = "braze_cohort.dry_run=true";
    format!(
        "{steps}\nThen the columns, in queries/ or config/. No schedule is active yet.\n\n\
         With td; the last command is a dry run, which sends nothing:\n  cd '{dir}'\n  td wf push {name}\n{td}  \
         td wf start {name} {workflow} --session now -p {dry_run}\n\n\
         With tdx; the last command is a dry run, which sends nothing:\n  cd '{dir}'\n  tdx wf push\n{tdx}  \
         tdx wf run {name}.{workflow} --param {dry_run}"
    )
}

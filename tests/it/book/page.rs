//! Markdown, as far as our pages use it: fenced blocks, code within a line, links, headings.

use std::fs;
use std::path::{Path, PathBuf};

/// One page.
pub struct Page {
    /// Where it is in the repository, such as `docs/account.md`.
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// What is not in a block: number and text of each line.
    pub prose: Vec<(usize, String)>,
}

/// A fenced block.
pub struct Block {
    /// Of its fence.
    pub line: usize,
    pub language: String,
    /// `exit=2` behind the language: the code that its commands end with.
    pub exit: i32,
    /// The file that it shows: the line before it ends with the name as code and a colon.
    pub file: Option<String>,
    pub text: String,
}

/// The repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages that a user or a contributor reads.
pub fn pages() -> Vec<Page> {
    let files = |pattern: &str| {
        let found: Vec<_> =
            glob::glob(&format!("{}/{pattern}", top().display())).unwrap().map(Result::unwrap).collect();
        assert!(!found.is_empty(), "{pattern}");
        found
    };
    ["README.md", "CONTRIBUTING.md", "docs/*.md", "workflows/*/README.md"]
        .into_iter()
        .flat_map(files)
        .map(|path| Page::parse(path.strip_prefix(top()).unwrap(), &fs::read_to_string(&path).unwrap()))
        .collect()
}

impl Page {
    /// Reads a page.
    pub fn parse(path: &Path, text: &str) -> Self {
        let mut page = Self { path: path.to_owned(), blocks: Vec::new(), prose: Vec::new() };
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        while let Some((number, line)) = lines.next() {
            let Some(fence) = line.trim_start().strip_prefix("```") else {
                page.prose.push((number, line.to_owned()));
                continue;
            };
            let indent = line.len() - line.trim_start().len();
            let content: Vec<_> = lines
                .by_ref()
                .take_while(|(_, line)| line.trim() != "```")
                .map(|(_, line)| format!("{}\n", line.get(indent..).unwrap_or_default()))
                .collect();
            let mut words = fence.split_whitespace();
            let language = words.next().unwrap_or_default().to_owned();
            let exit = words.next().map_or(0, |word| word.strip_prefix("exit=").unwrap().parse().unwrap());
            let before = page.prose.iter().rev().map(|(_, line)| line.trim_end()).find(|line| !line.is_empty());
            let file = before.filter(|_| !["sh", "text"].contains(&&*language)).and_then(file_in_front_of_colon);
            page.blocks.push(Block { line: number, language, exit, file, text: content.concat() });
        }
        page
    }

    /// Where a line of it is, for a message.
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// What stands in backticks outside blocks, with its line.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.prose.iter().flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(|code| (*number, code)))
    }

    /// Where its links lead, with the line.
    pub fn links(&self) -> impl Iterator<Item = (usize, &str)> {
        self.prose.iter().flat_map(|(number, line)| {
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| (*number, target))
        })
    }

    /// Its headings, as they are named in links.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose.iter().filter(|(_, line)| line.starts_with('#'));
        headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// `NAME` of a line that ends with it in backticks and a colon.
fn file_in_front_of_colon(line: &str) -> Option<String> {
    let (_, name) = line.strip_suffix("`:")?.rsplit_once('`')?;
    Some(name.to_owned())
}

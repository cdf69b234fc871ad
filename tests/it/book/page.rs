//! What the tests of the book look at in a page: its blocks, code within the text, links and headings.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// One page.
#[derive(Default)]
pub struct Page {
    /// Where it is in the repository, such as `docs/report.md`.
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// Code within the text. This and the following fields have the place for a message, such as `docs/report.md:7`.
    pub code: Vec<(String, String)>,
    /// Where its links lead.
    pub links: Vec<(String, String)>,
    /// The text itself, in pieces of a line at most.
    pub text: Vec<(String, String)>,
    /// Its headings, as they are named in links.
    pub anchors: Vec<String>,
}

/// A fenced block.
#[derive(Default)]
pub struct Block {
    /// Where its fence is, such as `docs/report.md:7`.
    pub at: String,
    pub language: String,
    /// `exit=2` behind the language: the code that its commands end with.
    pub exit: i32,
    /// The file that it shows: the text before it ends with the name as code and a colon.
    pub file: Option<String>,
    pub text: String,
}

/// The repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap()
}

/// All pages that a user or a contributor reads.
pub fn pages() -> Vec<Page> {
    let patterns = ["README.md", "CONTRIBUTING.md", "docs/*.md", "workflows/*/README.md"];
    let files = patterns.map(|pattern| glob::glob(top().join(pattern).to_str().unwrap()).unwrap().map(Result::unwrap));
    let page = |path: PathBuf| Page::parse(path.strip_prefix(top()).unwrap(), &fs::read_to_string(&path).unwrap());
    let pages: Vec<_> = files.into_iter().flatten().map(page).collect();
    assert!(pages.len() > 10, "only {} pages were found", pages.len());
    pages
}

impl Page {
    /// Reads a page.
    pub fn parse(path: &Path, text: &str) -> Self {
        let mut page = Self { path: path.to_owned(), ..Self::default() };
        let (mut block, mut heading) = (None, None);
        // The last two pieces of text: a name as code, and a colon.
        let mut before = [None, None];
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let at = format!("{}:{}", path.display(), text[..range.start].matches('\n').count() + 1);
            match event {
                Event::Start(Tag::CodeBlock(kind)) => block = Some(Block::new(at, kind, &before)),
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.anchors.extend(heading.take().as_deref().map(anchor)),
                Event::Start(Tag::Link { dest_url, .. }) => page.links.push((at, dest_url.into_string())),
                Event::Text(text) if block.is_some() => block.as_mut().unwrap().text += &text,
                Event::Text(piece) | Event::Code(piece) => {
                    if let Some(heading) = &mut heading {
                        *heading += &piece;
                    }
                    let is_code = text[range].starts_with('`');
                    let pieces = if is_code { &mut page.code } else { &mut page.text };
                    pieces.push((at, piece.to_string()));
                    before = [before[1].take(), Some((is_code, piece.into_string()))];
                }
                _ => {}
            }
        }
        page
    }
}

impl Block {
    fn new(at: String, kind: CodeBlockKind, before: &[Option<(bool, String)>; 2]) -> Self {
        let CodeBlockKind::Fenced(info) = kind else { return Self { at, ..Self::default() } };
        let mut words = info.split_whitespace();
        let language = words.next().unwrap_or_default().to_owned();
        let exit = words.next().map_or(0, |word| word.strip_prefix("exit=").unwrap().parse().unwrap());
        let file = match before {
            [Some((true, name)), Some((false, colon))] if colon == ":" && !["sh", "text"].contains(&&*language) => {
                Some(name.clone())
            }
            _ => None,
        };
        Self { at, language, exit, file, text: String::new() }
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

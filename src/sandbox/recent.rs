//! The bounded memory behind the page: the last of what happened, and pages of it.

use std::collections::VecDeque;

/// The most characters kept of a text from a request.
const MAX_TEXT: usize = 256;

/// Adds an item in front, and drops the last ones beyond `most`.
pub fn keep<T>(items: &mut VecDeque<T>, item: T, most: usize) {
    items.push_front(item);
    items.truncate(most);
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many come before it.
    pub offset: usize,
    /// The most that are in it; `None` is all there are.
    pub limit: Option<usize>,
}

impl Page {
    /// Everything.
    pub const ALL: Self = Self { offset: 0, limit: None };

    /// This part of a list. `skip` must be cheap for long lists.
    pub fn of<T>(self, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        items.skip(self.offset).take(self.limit.unwrap_or(usize::MAX))
    }
}

/// As much of a text as is kept.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_come_newest_first() {
        let mut recent = VecDeque::new();
        (1..=5).for_each(|number| keep(&mut recent, number, 3));
        assert_eq!(recent.iter().copied().collect::<Vec<_>>(), [5, 4, 3]);
        for (offset, limit, expected) in
            [(0, None, &[5, 4, 3][..]), (1, Some(1), &[4]), (2, Some(9), &[3]), (3, Some(1), &[]), (0, Some(0), &[])]
        {
            let page = Page { offset, limit };
            assert_eq!(page.of(recent.iter().copied()).collect::<Vec<_>>(), expected, "{page:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("zoë"), "zoë");
        assert_eq!(shortened(&"ë".repeat(257)), format!("{}…", "ë".repeat(256)));
    }
}

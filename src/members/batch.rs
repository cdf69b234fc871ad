//! Batches of identifiers. A batch keeps them in one buffer, as they came, without a string for each.

use crate::members::identifier::Kind;
use crate::members::operation::Operation;

/// The most identifiers that Braze accepts in one request: external IDs, device IDs and aliases combined.
pub const CAPACITY: usize = 1000;

/// Up to [`CAPACITY`] identifiers in the order in which they were read, and their operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    operation: Operation,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    /// The end of the identifier's bytes, which is the beginning of the next one.
    end: usize,
}

impl Batch {
    /// An empty batch with room for a full batch of common identifiers.
    pub fn new(operation: Operation) -> Self {
        Self { operation, bytes: Vec::with_capacity(CAPACITY * 40), entries: Vec::with_capacity(CAPACITY) }
    }

    /// The operation for all identifiers.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Removes all identifiers, but keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// How many identifiers it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// An empty batch without reserved memory, for a few identifiers.
    pub fn alone(operation: Operation) -> Self {
        Self { operation, bytes: Vec::new(), entries: Vec::new() }
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an identifier at the end.
    pub fn push(&mut self, kind: Kind, identifier: &[u8]) {
        self.bytes.extend_from_slice(identifier);
        self.entries.push(Entry { kind, end: self.bytes.len() });
    }

    /// The identifiers with their kinds, in order.
    pub fn identifiers(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end));
        self.entries.iter().zip(starts).map(|(entry, start)| (entry.kind, &self.bytes[start..entry.end]))
    }

    /// The bytes of all identifiers, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Two halves; the first is never the larger. From two identifiers on, neither is empty.
    pub fn halves(&self) -> (Self, Self) {
        let middle = self.len() / 2;
        let (mut left, mut right) = (Self::alone(self.operation), Self::alone(self.operation));
        for (index, (kind, identifier)) in self.identifiers().enumerate() {
            let half = if index < middle { &mut left } else { &mut right };
            half.push(kind, identifier);
        }
        (left, right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::UserId), Just(Kind::DeviceId), (0_u16..4).prop_map(Kind::Alias)]
    }

    proptest! {
        #[test]
        fn gives_back_what_was_put_in_and_halves_lose_nothing(
            identifiers in prop::collection::vec((kinds(), prop::collection::vec(any::<u8>(), 0..20)), 0..60),
        ) {
            let mut batch = Batch::new(Operation::Remove);
            for (kind, identifier) in &identifiers {
                batch.push(*kind, identifier);
            }
            let held: Vec<_> = batch.identifiers().map(|(kind, bytes)| (kind, bytes.to_vec())).collect();
            prop_assert_eq!(&held, &identifiers);

            let (left, right) = batch.halves();
            prop_assert_eq!((left.operation(), right.operation()), (Operation::Remove, Operation::Remove));
            prop_assert!(left.len() <= right.len() && right.len() <= left.len() + 1);
            let joined: Vec<_> =
                left.identifiers().chain(right.identifiers()).map(|(kind, bytes)| (kind, bytes.to_vec())).collect();
            prop_assert_eq!(joined, identifiers);
        }
    }
}

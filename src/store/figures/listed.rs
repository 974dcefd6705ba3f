//! The hits that a message's figures count, by their numbers, in the order in which they were
//! counted: whoever takes one back knows from them what comes first then.
//!
//! A byte says what is missing, and each number follows in seven bits a byte, the lowest first: a
//! message has three hits as a rule, and a row has some fifteen bytes for them.
//!
//! It is bounded. Of a message that goes round the world the first [`MOST`] are listed, and the
//! first of each kind.

/// Hits that are listed in any case.
const MOST: usize = 100;

/// Hits were counted before those that are listed.
const EARLIER: u8 = 1;
/// Hits were counted after those that are listed.
const LATER: u8 = 2;

/// A message's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed(Vec<u8>);

impl Default for Listed {
    /// Nothing was counted yet.
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Listed {
    /// What an earlier version counted is not listed.
    pub(super) fn unknown() -> Self {
        Self(vec![EARLIER])
    }

    /// As the database has it.
    pub(crate) fn stored(bytes: Option<Vec<u8>>) -> Self {
        bytes
            .filter(|bytes| !bytes.is_empty())
            .map_or_else(Self::unknown, Self)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn flags(&self) -> u8 {
        self.0.first().copied().unwrap_or(EARLIER)
    }

    /// Whether hits were counted before those that are listed.
    pub(crate) fn lacks_earlier(&self) -> bool {
        self.flags() & EARLIER != 0
    }

    /// Whether hits were counted after those that are listed.
    pub(super) fn lacks_later(&self) -> bool {
        self.flags() & LATER != 0
    }

    /// Whether all that were counted are listed.
    pub(crate) fn is_whole(&self) -> bool {
        self.flags() == 0
    }

    pub(super) fn set_lacks_later(&mut self) {
        if let Some(flags) = self.0.first_mut() {
            *flags |= LATER;
        }
    }

    /// Notes that a hit is counted; `is_first`: it is the first of its kind.
    pub(super) fn push(&mut self, seq: i64, is_first: bool) {
        // Each has a byte at least, so most lists are short without being counted.
        let is_full = self.0.len() > MOST && self.seqs().len() >= MOST;
        // Behind a gap nothing is in its place.
        if !is_first && (is_full || self.lacks_later()) {
            return self.set_lacks_later();
        }
        let mut rest = seq.cast_unsigned();
        loop {
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            match rest {
                0 => return self.0.push(low),
                _ => self.0.push(low | 0x80),
            }
        }
    }

    /// The numbers of the hits.
    pub(super) fn seqs(&self) -> Vec<i64> {
        let (mut seqs, mut number, mut shift) = (Vec::new(), 0_u64, 0);
        for byte in self.0.iter().skip(1) {
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                seqs.push(number.cast_signed());
                (number, shift) = (0, 0);
            }
        }
        seqs
    }

    /// This list, and what a list has now that it had not before.
    pub(super) fn and_new(&self, before: &Self, now: &Self) -> Self {
        let mut all = self.clone();
        let (there, before) = (self.seqs(), before.seqs());
        for seq in now.seqs() {
            if !there.contains(&seq) && !before.contains(&seq) {
                all.push(seq, false);
            }
        }
        if now.lacks_later() {
            all.set_lacks_later();
        }
        all
    }

    /// Whether both can be the list of the same hits: servers count side by side, so their order
    /// may differ, and which of very many are listed.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let sorted = |list: &Self| {
            let mut seqs = list.seqs();
            seqs.sort_unstable();
            seqs
        };
        !self.is_whole() || !other.is_whole() || sorted(self) == sorted(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn numbers_come_back_in_their_order(seqs in proptest::collection::vec(i64::MIN.., 0..90)) {
            let mut listed = Listed::default();
            seqs.iter().for_each(|seq| listed.push(*seq, false));
            proptest::prop_assert_eq!(listed.seqs(), seqs);
            proptest::prop_assert!(listed.is_whole());
        }

        #[test]
        fn any_bytes_are_a_list(bytes in proptest::collection::vec(0_u8.., 0..60)) {
            let listed = Listed::stored(Some(bytes));
            proptest::prop_assert!(listed.seqs().len() < 60);
        }
    }

    #[test]
    fn beyond_the_bound_the_first_of_a_kind_is_listed_and_the_list_says_that_it_is_not_whole() {
        let mut listed = Listed::default();
        (0..MOST as i64).for_each(|seq| listed.push(seq, false));
        assert!(listed.is_whole());
        listed.push(1_000, false);
        assert!(listed.lacks_later() && !listed.seqs().contains(&1_000));
        listed.push(1_001, true);
        assert_eq!(listed.seqs().last(), Some(&1_001));
    }

    #[test]
    fn what_an_earlier_version_counted_is_not_listed() {
        let mut listed = Listed::stored(None);
        assert!(listed.lacks_earlier());
        listed.push(7, false);
        assert_eq!((listed.seqs(), listed.is_whole()), (vec![7], false));
        let mut right = Listed::default();
        right.push(3, false);
        let before = Listed::unknown();
        assert_eq!(right.and_new(&before, &listed).seqs(), [3, 7]);
        assert_eq!(right.and_new(&listed, &listed).seqs(), [3]);
        assert!(right.is_like(&listed));
        let mut other = Listed::default();
        other.push(4, false);
        assert!(!right.is_like(&other));
    }
}

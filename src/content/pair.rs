//! Which places of a mail are one link.
//!
//! Outlook on Windows does not draw buttons, so mails have each button twice: as a VML shape in a
//! conditional comment for Outlook, and as a link for everybody else. A reader sees one of them,
//! and reports should count one. So a place that is hidden in such a comment is the same link as
//! the visible place with its URL nearby. All else is told apart by where it stands: the same page
//! is often linked from a picture, a headline and a button, and which one people click is what
//! a report is for.

/// A place of a link.
pub(super) trait Placed {
    /// Whether only Outlook shows it.
    fn is_hidden(&self) -> bool;
    /// Whether both lead to the same page with the same values.
    fn leads_as(&self, other: &Self) -> bool;
}

/// For each place the one whose link it is: itself, or the visible one of its pair.
pub(super) fn pair<P: Placed>(places: &[P]) -> Vec<usize> {
    let mut of: Vec<usize> = (0..places.len()).collect();
    let mut is_taken = vec![false; places.len()];
    let mut at = 0;
    while at < places.len() {
        if !places[at].is_hidden() {
            at += 1;
            continue;
        }
        let run = places[at..].iter().take_while(|place| place.is_hidden());
        let end = at + run.count();
        // Whole tables are doubled, too: as many links are looked at as were hidden in a row.
        let is_visible = |index: &usize| !places[*index].is_hidden();
        let behind: Vec<usize> = (end..places.len())
            .filter(is_visible)
            .take(end - at)
            .collect();
        let before: Vec<usize> = (0..at).rev().filter(is_visible).take(end - at).collect();
        for hidden in at..end {
            let fits =
                |other: &&usize| !is_taken[**other] && places[hidden].leads_as(&places[**other]);
            let found = behind
                .iter()
                .find(fits)
                .or_else(|| before.iter().find(fits));
            if let Some(&visible) = found {
                is_taken[visible] = true;
                of[hidden] = visible;
            }
        }
        at = end;
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Placed for (char, bool) {
        fn is_hidden(&self) -> bool {
            self.1
        }

        fn leads_as(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    /// Upper case is hidden.
    fn paired(text: &str) -> Vec<usize> {
        let places: Vec<_> = text
            .chars()
            .map(|c| (c.to_ascii_lowercase(), c.is_uppercase()))
            .collect();
        pair(&places)
    }

    #[test]
    fn a_hidden_link_is_the_visible_one_beside_it() {
        assert_eq!(paired("aAa"), [0, 2, 2], "the one behind it first");
        assert_eq!(paired("aA"), [0, 0]);
        assert_eq!(paired("ABCabc"), [3, 4, 5, 3, 4, 5], "whole tables");
        assert_eq!(paired("AAaa"), [2, 3, 2, 3]);
        assert_eq!(paired("Aba"), [0, 1, 2], "another link lies between");
        assert_eq!(paired("Ab"), [0, 1]);
    }
}

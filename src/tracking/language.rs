//! The language of a reader, for the few words that are ours.

/// The texts of the language that a reader likes best, by an `Accept-Language` (RFC 9110, 12.5.4);
/// the first if there is none of theirs. Regions do not count. A quality that cannot be read counts
/// as wanted.
pub(super) fn best<'w, W>(
    accepted: &str,
    all: &'w [W],
    tag_of: impl Fn(&W) -> &str,
) -> Option<&'w W> {
    let mut best: Option<(u32, &W)> = None;
    for range in accepted.split(',').take(50) {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        // In thousandths.
        let quality = quality.and_then(|quality| quality.trim().parse::<f32>().ok());
        let quality = (quality.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u32;
        let language = tag.split(['-', '_']).next().unwrap_or_default();
        let found = all
            .iter()
            .find(|words| tag_of(words).eq_ignore_ascii_case(language));
        if let Some(words) = found
            && quality > best.map_or(0, |(quality, _)| quality)
        {
            best = Some((quality, words));
        }
    }
    best.map(|(_, words)| words).or_else(|| all.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_the_readers_languages_is_taken() {
        let all = ["en", "de", "fr", "pt", "es"];
        for (accepted, language) in [
            ("de-DE,de;q=0.9,en;q=0.8", "de"),
            ("ja,fr;q=0.5,de;q=0.4", "fr"),
            ("en;q=0.1,pt-BR", "pt"),
            ("xx", "en"),
            ("", "en"),
            ("de;q=0,es;q=x", "es"),
            ("*", "en"),
        ] {
            assert_eq!(
                best(accepted, &all, |tag| tag),
                Some(&language),
                "{accepted}"
            );
        }
    }
}

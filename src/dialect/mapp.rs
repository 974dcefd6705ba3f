//! Mapp Intelligence (Webtrekk): hits, batches and opt-outs under `/<track id>/` (`protocols/mapp.md`).

/// Whether a path is Mapp's: `/<track ids>/wt…`, `/batch`, `/optout`, `/re.pl`, or the operator's own.
pub fn recognises(path: &str, own: &str) -> bool {
    if !own.is_empty() && path == own {
        return true;
    }
    let Some((sites, call)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return false;
    };
    let is_site = |b: u8| b.is_ascii_alphanumeric() || b"_-,".contains(&b);
    let is_suffix = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    !sites.is_empty()
        && sites.bytes().all(is_site)
        && match call {
            "wt" | "wt.pl" | "batch" | "optout" | "re.pl" => true,
            _ => call
                .strip_prefix("wt")
                .is_some_and(|suffix| suffix.len() <= 14 && suffix.bytes().all(is_suffix)),
        }
}

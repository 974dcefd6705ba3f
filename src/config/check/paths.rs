//! Names of the public URLs: none may take the place of another, or of the server's own.

use super::Found;
use crate::config::Config;
use crate::config::words::allowed;
use crate::model::site::{OPERATOR_PATHS, OPERATOR_TREES};
use crate::tracking::mapp;
use crate::tracking::route::{
    ESSENTIAL_SCRIPT, EVENT, FORM, FORM_SCRIPT, MAUTIC_OPEN, MAUTIC_REDIRECT, OPEN, PIXEL,
    PREFIXES, REDIRECT, SCRIPT, TRACKING_SCRIPT, UNSUBSCRIBE, VISITOR,
};

/// Paths that the server itself answers, with everything below them.
const OWN_TREES: [&str; 10] = [
    OPERATOR_TREES[0],
    OPERATOR_TREES[1],
    OPERATOR_TREES[2],
    OPERATOR_TREES[3],
    MAUTIC_OPEN,
    FORM,
    OPEN,
    REDIRECT,
    MAUTIC_REDIRECT,
    UNSUBSCRIBE,
];

/// What it answers itself.
const OWN_PATHS: [&str; 15] = [
    "/favicon.ico",
    "/robots.txt",
    OPERATOR_PATHS[0],
    OPERATOR_PATHS[1],
    OPERATOR_PATHS[2],
    // What may stand before the usual names in Mautic's addresses.
    PREFIXES[0],
    PREFIXES[1],
    PREFIXES[2],
    VISITOR,
    SCRIPT,
    EVENT,
    PIXEL,
    ESSENTIAL_SCRIPT,
    TRACKING_SCRIPT,
    FORM_SCRIPT,
];

pub(super) fn check_paths(config: &Config, found: &mut Found) {
    let paths = &config.paths;
    // Each with the usual name, which it may have.
    let all = [
        ("paths.redirect", paths.redirect.as_str(), REDIRECT),
        ("paths.script", paths.script.as_str(), SCRIPT),
        ("paths.pixel", paths.pixel.as_str(), PIXEL),
        ("paths.event", paths.event.as_str(), EVENT),
        ("mapp.path", config.mapp.path.as_str(), ""),
    ];
    let is_below = |path: &str, tree: &str| {
        path.strip_prefix(tree)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    for (index, (key, path, usual)) in all.into_iter().enumerate() {
        if path == usual {
            continue;
        }
        if !is_path(path) {
            found.say(key, path, format!("is not a path; {}", allowed(key)));
            continue;
        }
        let is_redirect = index == 0;
        let shadowed = OWN_TREES.iter().chain(&OWN_PATHS).find(|own| {
            // Mautic's old name of links may be the operator's name of them.
            let is_same = **own == usual || is_redirect && **own == MAUTIC_REDIRECT;
            !is_same
                && (path == **own
                    || OWN_TREES.contains(own) && is_below(path, own)
                    || is_redirect && is_below(own, path))
        });
        if let Some(own) = shadowed {
            let text = format!("hides the server's own {own}; choose another path");
            found.say(key, path, text);
        } else if !is_redirect && mapp::read_path(path, "").is_some() {
            let text = "looks like Mapp's /<track id>/wt, /batch, /optout or /re.pl; choose \
                another path";
            found.say(key, path, text);
        }
        for (other_key, other, _) in &all[..index] {
            let clashes = path == *other || *other_key == "paths.redirect" && is_below(path, other);
            if clashes && shadowed.is_none() {
                let how = if path == *other { "is" } else { "lies below" };
                let text = format!("{how} {other_key} ({other:?}); give each its own path");
                found.say(key, path, text).with = Some(other_key);
            }
        }
    }
}

fn is_path(path: &str) -> bool {
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(is_part))
}

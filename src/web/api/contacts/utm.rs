//! The icon of a hit with UTM values (`tests/cases/mautic/PROTOCOL.md`, "UTM timeline"). Names are
//! Font Awesome's; brands are its brand icons.

/// Sources that have a brand icon, by the names under which they appear in `utm_source`.
const BRANDS: &[(&str, &str)] = &[
    ("amazon", "amazon"),
    ("android", "android"),
    ("apple", "apple"),
    ("bluesky", "bluesky"),
    ("chrome", "chrome"),
    ("discord", "discord"),
    ("dribbble", "dribbble"),
    ("facebook", "facebook"),
    ("fb", "facebook"),
    ("firefox", "firefox"),
    ("flickr", "flickr"),
    ("foursquare", "foursquare"),
    ("github", "github"),
    ("google", "google"),
    ("instagram", "instagram"),
    ("ig", "instagram"),
    ("ios", "apple"),
    ("ipad", "apple"),
    ("iphone", "apple"),
    ("line", "line"),
    ("linkedin", "linkedin"),
    ("linux", "linux"),
    ("mastodon", "mastodon"),
    ("medium", "medium"),
    ("messenger", "facebook-messenger"),
    ("microsoft", "microsoft"),
    ("pinterest", "pinterest"),
    ("quora", "quora"),
    ("reddit", "reddit"),
    ("slack", "slack"),
    ("snapchat", "snapchat"),
    ("spotify", "spotify"),
    ("telegram", "telegram"),
    ("threads", "threads"),
    ("tiktok", "tiktok"),
    ("tumblr", "tumblr"),
    ("twitch", "twitch"),
    ("twitter", "x-twitter"),
    ("vimeo", "vimeo"),
    ("vk", "vk"),
    ("wechat", "weixin"),
    ("weibo", "weibo"),
    ("whatsapp", "whatsapp"),
    ("windows", "windows"),
    ("wordpress", "wordpress"),
    ("x", "x-twitter"),
    ("xing", "xing"),
    ("yahoo", "yahoo"),
    ("yelp", "yelp"),
    ("youtube", "youtube"),
];

/// The icon of a medium; social media and devices take the brand of the source where it has one.
pub fn icon(medium: Option<&str>, source: Option<&str>) -> &'static str {
    let lower = |text: Option<&str>| text.unwrap_or_default().trim().to_lowercase();
    match lower(medium).as_str() {
        "social" | "socialmedia" => brand(&lower(source)).unwrap_or("share"),
        "email" | "newsletter" => "envelope",
        "banner" | "ad" => "bullseye",
        "cpc" => "money",
        "location" => "map-marker",
        "device" => brand(&lower(source)).unwrap_or("tablet"),
        _ => "tag",
    }
}

/// `facebook`, `facebook.com` and `www.facebook.com` are one source.
fn brand(source: &str) -> Option<&'static str> {
    let source = source.trim_start_matches("www.");
    let name = source.strip_suffix(".com").unwrap_or(source);
    BRANDS
        .iter()
        .find_map(|(known, icon)| (*known == name).then_some(*icon))
}

#[cfg(test)]
mod tests {
    use super::icon;

    #[test]
    fn media_have_the_icons_of_the_table() {
        for (medium, source, expected) in [
            ("social", Some("Facebook"), "facebook"),
            ("SocialMedia", Some("www.linkedin.com"), "linkedin"),
            ("socialmedia", Some("the-village-board"), "share"),
            ("social", None, "share"),
            ("Email", Some("facebook"), "envelope"),
            ("newsletter", None, "envelope"),
            ("banner", None, "bullseye"),
            ("AD", None, "bullseye"),
            ("cpc", Some("google"), "money"),
            ("location", None, "map-marker"),
            ("device", Some("Android"), "android"),
            ("device", Some("fridge"), "tablet"),
            ("carrier pigeon", Some("facebook"), "tag"),
            ("", None, "tag"),
        ] {
            assert_eq!(icon(Some(medium), source), expected, "{medium} {source:?}");
        }
        assert_eq!(icon(None, Some("facebook")), "tag");
    }
}

//! What a submission is answered: where it leads, and what the page around it is told.

use super::*;

#[test]
fn answers_are_merged_into_the_page() {
    let (taken, form) = (Map::new(), form());
    let thanks = "mauticMessage=Danke%20%26%20%3Cb%3Ebis%20bald%3C%2Fb%3E";
    let wrong = [FieldError {
        alias: "email".into(),
        message: "E-mail is required.".into(),
    }];
    for (page, referer, said, location) in [
        (
            "https://a.shop.example/?x=1&mauticError=old&y=%20#f",
            "",
            Said::Taken(&taken),
            Some(format!("https://a.shop.example/?x=1&y=%20&{thanks}#f")),
        ),
        (
            "https://evil.example/",
            "https://a.shop.example/",
            Said::Taken(&taken),
            Some(format!("https://www.example.com/thanks?a=1&{thanks}#top")),
        ),
        (
            "",
            "https://a.shop.example/form",
            Said::Taken(&taken),
            Some(format!("https://a.shop.example/form?{thanks}")),
        ),
        (
            "https://a.shop.example/form",
            "",
            Said::Wrong(&wrong),
            Some(
                "https://a.shop.example/form?mauticError=E-mail%20is%20required.#mauticform_newsletter"
                    .to_owned(),
            ),
        ),
        // Thanks stand on the form's own page, mistakes do not.
        ("https://evil.example/", "", Said::Wrong(&wrong), None),
    ] {
        let post = posted(&[("mauticform[return]", page)]);
        let headers = headers(&[("referer", referer)]);
        assert_eq!(
            return_location(&form, &post, &inbound(&headers), said),
            location,
            "{page}"
        );
    }
}

#[test]
fn the_answer_as_json_has_mautics_members() {
    let mut form = form();
    let post = posted(&[("mauticform[formName]", "<x>")]);
    let mut results = Map::new();
    results.insert("email".into(), "a@b.example".into());
    assert_eq!(
        json(&form, &post, Said::Taken(&results)),
        serde_json::json!({
            "success": 1, "results": { "email": "a@b.example" }, "successMessage": "Danke & <b>bis bald</b>",
            "formName": "newsletter",
        })
    );
    form.success_message = None;
    assert_eq!(
        json(&form, &post, Said::Taken(&results))["redirect"],
        "https://www.example.com/thanks?a=1#top"
    );
    let errors = [FieldError {
        alias: "email".into(),
        message: "E-mail is required.".into(),
    }];
    assert_eq!(
        json(&form, &post, Said::Wrong(&errors)),
        serde_json::json!({
            "success": 0, "validationErrors": { "email": "E-mail is required." }, "formName": "newsletter",
        })
    );
}

/// The text of the first string in a call of `postMessage`, read as a browser would.
fn posted_message(page: &str) -> Option<Value> {
    let call = page.split_once("parent.postMessage(")?.1;
    let mut strings = serde_json::Deserializer::from_str(call).into_iter::<String>();
    let text = strings.next()?.ok()?;
    serde_json::from_str(&text).ok()
}

proptest! {
    #[test]
    fn nobody_is_sent_to_a_foreign_host(
        url in "(https?:|javascript:|data:|)(//|\\\\\\\\|/|)([a-z@:.%\\\\\t]{0,12}|www\\.example\\.com|shop\\.example|a\\.shop\\.example|evil\\.example)[@/\\\\?#.:]?(evil\\.example|www\\.example\\.com|a\\.shop\\.example)?[/?#&=a-z%0-9]{0,20}",
        referer in "[ -~]{0,40}",
        is_taken: bool,
    ) {
        let form = form();
        let post = posted(&[("mauticform[return]", &url)]);
        let headers = headers(&[("referer", &referer)]);
        let taken = Map::new();
        let said = if is_taken { Said::Taken(&taken) } else { Said::Failed("no") };
        if let Some(location) = return_location(&form, &post, &inbound(&headers), said) {
            prop_assert!(HeaderValue::try_from(&location).is_ok(), "{location}");
            let to = Url::parse(&location).unwrap();
            prop_assert!(["http", "https"].contains(&to.scheme()));
            // A dot at the end says nothing: it is the same host.
            let host = to.host_str().unwrap();
            let host = host.strip_suffix('.').unwrap_or(host);
            prop_assert!(host == "www.example.com" || host.ends_with(".shop.example"), "{url} led to {location}");
        }
    }

    #[test]
    fn a_message_is_data_wherever_it_stands(value in "(</script>|<!--|-->|'|\"|\\\\|\u{2028}|\u{2029}|\n|&|.){0,20}") {
        let form = form();
        let post = posted(&[("mauticform[email]", "a@b.example"), ("mauticform[firstname]", &value), ("mauticform[formName]", &value)]);
        let Ok(Submission { results, .. }) = submitted(&post, &[]) else { return Ok(()) };
        let said = Said::Taken(&results);
        let answer = json(&form, &post, said);
        let page = messenger_page(&form, &answer, said, Some("https://a.shop.example"));
        prop_assert_eq!(page.matches("<script").count(), 1);
        prop_assert_eq!(page.matches("</script").count(), 1);
        let is_safe = !page.contains("<!--") && !page.contains('\u{2028}') && !page.contains("<b>");
        prop_assert!(is_safe, "{page:?}");
        prop_assert_eq!(posted_message(&page), Some(answer));
    }
}

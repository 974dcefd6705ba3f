//! Which values identify a person and which do not.

use super::placeholder::is_template;
use super::*;

const PLACEHOLDERS: [&str; 44] = [
    "undefined",
    "UNDEFINED",
    "null",
    "NULL",
    "(null)",
    "nil",
    "None",
    "NaN",
    "false",
    "true",
    "anonymous",
    "guest",
    "(not set)",
    "N/A",
    "[object Object]",
    "[object Undefined]",
    "{contactfield=email}",
    "{leadfield=email|there}",
    "{{email}}",
    "{{ contact.email }}",
    "*|EMAIL|*",
    "%EMAIL%",
    "%%emailaddr%%",
    "%recipient.email%",
    "[EMAIL]",
    "[[email]]",
    "${email}",
    "<%= recipient.email %>",
    "$email$",
    "##email##",
    "@@EMAIL@@",
    "__EMAIL__",
    "-email-",
    ":email",
    "email",
    "%s",
    "0",
    "-1",
    "000",
    "-",
    "\"\"",
    "...",
    "00000000-0000-0000-0000-000000000000",
    "'undefined'",
];

#[test]
fn placeholders_name_nobody_in_any_field() {
    for value in PLACEHOLDERS {
        assert_eq!(read_key("email", value), Err(NoName::NoAddress), "{value}");
        // What only the field's own name tells is a name elsewhere.
        if !value.contains("email") || is_template(value) {
            assert_eq!(
                read_key("customer_id", value),
                Err(NoName::Placeholder),
                "{value}"
            );
        }
    }
    for value in ["customer_id", "$customer_id", ":CUSTOMER_ID"] {
        assert_eq!(refusal("customer_id", value), Some(NoName::Placeholder));
    }
}

#[test]
fn what_is_no_address_names_nobody_in_a_field_of_addresses() {
    for value in [
        "",
        "not-an-email",
        "12345",
        "ada@",
        "@example.com",
        "ada news@example.com",
        "ada@example..com",
        "ada@example.com,bob@example.com",
        "ada@example.com;bob@example.com",
        "Ada <ada@example.com>",
        "mailto:ada@example.com",
        "undefined@example.com",
        "ada@undefined",
        "null@null.null",
        "*|USER|*@example.com",
        "{user}@example.com",
        "%NAME%@example.com",
        "ada@{{host}}",
        "ada@exam ple.com",
        "https://example.com/@ada",
    ] {
        assert_eq!(refusal("email", value), Some(NoName::NoAddress), "{value}");
    }
    for field in [
        "email",
        "Email",
        "e-mail",
        "mail",
        "work_email",
        "email2",
        "EmailAddress",
    ] {
        assert!(is_address_field(field), "{field}");
    }
    for field in [
        "customer_id",
        "email_receiver_id",
        "mautic_id",
        "hashed_email",
        "email_sha256",
        "phone",
    ] {
        assert!(!is_address_field(field), "{field}");
    }
}

#[test]
fn what_names_somebody_is_taken_in_one_form() {
    for (field, value, form) in [
        ("email", " Ada@Example.COM ", "ada@example.com"),
        ("email", "ada+news@example.com", "ada+news@example.com"),
        ("email", "o'hara@example.com", "o'hara@example.com"),
        ("email", "a.d.a@example.com", "a.d.a@example.com"),
        ("email", "null@example.com", "null@example.com"),
        ("email", "ada@localhost", "ada@localhost"),
        ("email", "ä@bücher.example", "ä@bücher.example"),
        ("email", "ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ada@example.com"),
        (
            "email",
            "\u{feff}ada@exam\u{200b}ple.com\u{a0}",
            "ada@example.com",
        ),
        ("email", "ada@example.com.", "ada@example.com"),
        ("customer_id", "A-1001", "a-1001"),
        ("customer_id", "10", "10"),
        ("customer_id", "no.7", "no.7"),
        ("customer_id", "Nulla", "nulla"),
        ("customer_id", "100%", "100%"),
        (
            "customer_id",
            "{6F9619FF-8B86-D011-B42D-00C04FC964FF}",
            "{6f9619ff-8b86-d011-b42d-00c04fc964ff}",
        ),
    ] {
        let read = read_key(field, value);
        assert_eq!(
            read.as_ref().map(|(_, value)| value.as_str()),
            Ok(form),
            "{value}"
        );
    }
}

#[test]
fn an_error_names_field_value_and_way_out() {
    let unique = ["email".to_owned()];
    let fields = [("email".to_owned(), "undefined".to_owned())];
    assert_eq!(
        check_fields(&unique, &fields).unwrap_err().to_string(),
        "email \"undefined\" is not an email address; leave the field out if there is no value"
    );
    assert_eq!(check_fields(&[], &fields), Ok(()));
    let long = [("email".to_owned(), "x".repeat(1_000))];
    assert!(check_fields(&unique, &long).unwrap_err().why().len() < 150);
}

proptest::proptest! {
    #[test]
    fn a_form_is_its_own_form_and_nobody_is_named_by_nothing(field in "email|customer_id", value in "\\PC{0,30}|[a-z.+]{1,9}@[a-z]{1,9}\\.[a-z]{2,3}\\.?") {
        let form = normalise(&value);
        proptest::prop_assert_eq!(&normalise(&form), &form);
        if let Ok((_, value)) = read_key(&field, &value) {
            proptest::prop_assert!(value.contains(char::is_alphanumeric));
            proptest::prop_assert_eq!(refusal(&field, &value), None);
        }
    }
}

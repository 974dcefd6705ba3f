//! The delivery behind `/demo`: a mail with two links to a sample reader, made at the first start
//! with `--demo` and found again by its label at the next.

mod month;

use anyhow::{Context as _, bail};

use crate::model::hit::{BroadlogId, LinkId, Utm};
use crate::model::link::LinkToken;
use crate::operator::messages::{Mailing, Recipient, store_messages};
use crate::operator::{NewDelivery, NewLink, create_delivery, create_links};
use crate::store::deliveries::Delivery;
use crate::web::{AdminState, DemoLinks};

const LABEL: &str = "Sillage demo";
const SHOP: &str = "Shop";
const ARTICLE: &str = "Article";

/// Makes or finds the delivery, its links and its one message, and lets this server serve them.
///
/// # Errors
/// The database fails, or no field names a contact.
pub(super) async fn prepare(app: &AdminState) -> anyhow::Result<DemoLinks> {
    let unique = unique_field(app)?;
    let known = app.store.delivery_by_label(LABEL).await?;
    let is_new = known.is_none();
    let delivery = match known {
        Some(delivery) => delivery,
        None => {
            let draft = NewDelivery {
                label: LABEL.to_owned(),
                utm: Utm {
                    source: Some("sillage".to_owned()),
                    medium: Some("email".to_owned()),
                    campaign: Some("demo".to_owned()),
                    ..Utm::default()
                },
                ..NewDelivery::default()
            };
            create_delivery(&app.store, &app.clock, draft).await?
        }
    };
    let shop = format!("{}/demo/shop", app.default_site().base_url);
    let article = format!("{shop}#care");
    let (shop, article) = (
        link_to(app, &delivery, SHOP, &shop).await?,
        link_to(app, &delivery, ARTICLE, &article).await?,
    );
    let broadlog_id = match app.store.first_message(delivery.id).await? {
        Some(id) => id,
        None => send_to_reader(app, &delivery, unique).await?,
    };
    // Once: a start that is interrupted here leaves a shorter month.
    if is_new {
        month::make(app, unique).await?;
    }
    let token = |link_id: Option<LinkId>| {
        let token = LinkToken {
            delivery_id: delivery.id,
            broadlog_id,
            link_id,
            // Unknown: a click seconds after the start is somebody trying it out, no scanner.
            sent_minute: None,
        };
        token.encode(&app.keys)
    };
    let site = app.default_site();
    let redirect = site.redirect_url();
    Ok(DemoLinks {
        shop: format!("{redirect}/{}", token(Some(shop))),
        article: format!("{redirect}/{}", token(Some(article))),
        open_pixel: format!("{}/o/{}.gif", site.base_url, token(None)),
    })
}

/// The demo's link of a label, with the destination that it has under today's public URL.
async fn link_to(
    app: &AdminState,
    delivery: &Delivery,
    label: &str,
    url: &str,
) -> anyhow::Result<LinkId> {
    let links = app.store.links_of(delivery.id).await?;
    let found = links
        .into_iter()
        .find(|link| link.label.as_deref() == Some(label));
    let link = match found {
        Some(mut link) => {
            if link.url != url {
                let mut tx = app.store.begin().await?;
                tx.set_link_url(link.id, url, app.clock.now()).await?;
                tx.commit().await?;
                url.clone_into(&mut link.url);
            }
            link
        }
        None => {
            let draft = NewLink {
                url: url.to_owned(),
                label: Some(label.to_owned()),
                ..NewLink::default()
            };
            let made = create_links(&app.store, &app.clock, &[], delivery.id, vec![draft]).await?;
            made.1.into_iter().next().context("no link was created")?
        }
    };
    app.links.put(&[link.record(Some(delivery))]).await?;
    Ok(link.id)
}

/// The field that names a recipient.
fn unique_field(app: &AdminState) -> anyhow::Result<&str> {
    let unique = &app.contacts.unique;
    let email = unique.iter().find(|field| *field == "email");
    match email.or(unique.first()) {
        Some(field) => Ok(field),
        None => bail!("contacts.unique is empty, so no message can name a recipient"),
    }
}

async fn send_to_reader(
    app: &AdminState,
    delivery: &Delivery,
    field: &str,
) -> anyhow::Result<BroadlogId> {
    let unique = &app.contacts.unique;
    let fields = [(field, "reader@quai9.example"), ("firstname", "Robin")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let line = Ok(Recipient::new(None, fields.to_vec(), None, Some("html")));
    let lines = [line];
    let mailing = Mailing {
        delivery_id: delivery.id,
        wanted: Vec::new(),
    };
    let outcomes = store_messages(&app.store, &app.clock, unique, &mailing, &lines, None).await?;
    let sent = outcomes
        .into_iter()
        .next()
        .context("no message was created")?;
    Ok(sent?.broadlog_id)
}

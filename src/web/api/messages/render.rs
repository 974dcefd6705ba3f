//! `?render=html,text`: the finished parts of a delivery's mail in each line.

use serde::Deserialize;
use utoipa::IntoParams;

use super::stationery::Mail;
use crate::content::{Addresses, Edit, Part, Template, fields};
use crate::model::hint::quote;
use crate::model::hit::DeliveryId;
use crate::model::site::Site;
use crate::store::Store;
use crate::tracking::route::UNSUBSCRIBE;
use crate::web::error::Problem;

/// The query of a request for messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web::api) struct Rendering {
    /// `html`, `text` or `html,text`.
    render: Option<String>,
}

impl Rendering {
    /// The mail as far as it is asked for, and the fields whose values it needs. What is the same
    /// in all messages is put together here, once.
    ///
    /// # Errors
    /// Another part is asked for than there is, or the database does not answer.
    pub(super) async fn prepare(
        &self,
        store: &Store,
        delivery_id: DeliveryId,
        site: &Site,
    ) -> Result<(Option<Mail>, Vec<String>), Problem> {
        let Some(asked) = &self.render else {
            return Ok((None, Vec::new()));
        };
        let parts = read_parts(asked)?;
        let content = store.content(delivery_id).await;
        let content = content.map_err(|error| Problem::database(&error))?;
        let Some(content) = content else {
            return Err(Problem::field(
                "render",
                format_args!(
                    "is {asked} but delivery {delivery_id} has no content: give it some with POST \
                    /api/v1/deliveries/{delivery_id}/content"
                ),
            ));
        };
        let links: Vec<_> = content.current().map(|link| link.id).collect();
        let mut wanted = Vec::new();
        let mut has = |edits: &[Edit]| {
            let names = fields(edits).into_iter();
            for name in names {
                if !wanted.contains(&name) {
                    wanted.push(name);
                }
            }
        };
        for part in &parts {
            match part {
                Part::Html => has(&content.edits.html),
                Part::Text => has(&content.edits.text),
            }
        }
        let (link, pixel, unsubscribe) = (
            format!("{}/", site.redirect_url()),
            format!("{}/o/", site.base_url),
            format!("{}{UNSUBSCRIBE}/", site.base_url),
        );
        let mut mail = Mail {
            links,
            ..Mail::default()
        };
        for part in parts {
            let (source, edits, place) = match part {
                Part::Html => (&content.source.html, &content.edits.html, &mut mail.html),
                Part::Text => (&content.source.text, &content.edits.text, &mut mail.text),
            };
            let Some(source) = source else {
                let name = part.field();
                let why = format!("asks for {name} but the content of the delivery has no {name}");
                return Err(Problem::field("render", why));
            };
            let addresses = Addresses {
                link: &link,
                pixel: &pixel,
                unsubscribe: &unsubscribe,
            };
            *place = Some(Template::new(part, source, edits, &wanted, addresses));
        }
        Ok((Some(mail), wanted))
    }
}

fn read_parts(asked: &str) -> Result<Vec<Part>, Problem> {
    let part = |word: &str| match word.trim() {
        "html" => Some(Part::Html),
        "text" => Some(Part::Text),
        _ => None,
    };
    let parts: Option<Vec<Part>> = asked.split(',').map(part).collect();
    parts.ok_or_else(|| {
        let why = format!("is {} but must be html, text or html,text", quote(asked));
        Problem::field("render", why)
    })
}

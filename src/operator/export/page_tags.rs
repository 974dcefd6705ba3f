//! Page tags: few, so they are told one by one and not as an export of their own.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::cell::Cell;
use crate::store::page_tags::PageTag;

/// A page tag as people get it: `{identifier, label, kind, folder, source_url, valid_until,
/// created_at}`.
#[derive(Clone, Debug)]
pub struct PageTagLine(pub PageTag);

impl Serialize for PageTagLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tag = &self.0;
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("identifier", &tag.identifier)?;
        map.serialize_entry("label", &tag.label)?;
        map.serialize_entry("kind", &tag.kind)?;
        map.serialize_entry("folder", &tag.folder)?;
        map.serialize_entry("source_url", &tag.source_url)?;
        map.serialize_entry("valid_until", &Cell::time(tag.valid_until))?;
        map.serialize_entry("created_at", &Cell::Time(tag.created_at))?;
        map.end()
    }
}

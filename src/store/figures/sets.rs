//! Figures that depend on what is there already: who is new, and what has room. All of it is looked
//! up in one round trip. Nobody else writes meanwhile.

use super::clicks::{self, Clickers};
use super::sites::Nameless;
use super::tops::Tops;
use super::visitors::SiteVisitors;
use crate::store::{LookUps, Tx, Writes};

/// What hits add to them.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// Visitors that clicked.
    pub(super) clickers: Clickers,
    pub(super) tops: Tops,
    pub(super) visitors: SiteVisitors,
}

impl Sets {
    /// Takes another batch's.
    pub(super) fn merge(&mut self, more: Self) {
        for (clicker, clicks) in more.clickers {
            let had = self.clickers.entry(clicker).or_insert(clicks::NONE);
            had.add(clicks);
        }
        self.tops.merge(more.tops);
        self.visitors.merge(more.visitors);
    }

    /// Adds everything to what is there.
    pub(super) async fn save(
        self,
        tx: &mut Tx,
        nameless: &Nameless,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let Self {
            clickers,
            mut tops,
            mut visitors,
        } = self;
        if !nameless.is_empty() {
            tops = tops.named(nameless);
            visitors = visitors.named(nameless);
        }
        let look_ups = [
            clicks::look_up(&clickers),
            tops.look_up(),
            visitors.look_up(),
        ];
        let mut all = LookUps::default();
        for (rows, sql) in look_ups {
            all = all.and(rows, sql);
        }
        let [clicked, values, sketches] = all.fetch(tx).await?;
        clicks::save(tx, &clickers, &clicked, writes).await?;
        tops.save(tx, &values, writes).await?;
        visitors.save(tx, sketches, writes).await
    }
}

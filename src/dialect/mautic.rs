//! Mautic: imported links and opens, click-through payloads, forms (`protocols/mautic.md`). The pixel's and the script's parameters are our own
//! vocabulary: see [`super::native`].

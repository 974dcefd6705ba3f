//! Which site a request came to, and what its answers are made of.

use http::HeaderMap;

use super::{CookieMaker, Cors, Permission, Script, TrackingState};
use crate::model::site::Site;

/// A site with what is derived from it once rather than for each response.
pub struct ServedSite {
    /// What holds there.
    pub site: Site,
    /// Its cookies.
    pub(super) cookies: CookieMaker,
    /// Who may read its answers.
    pub(super) cors: Cors,
    /// Its script.
    pub(super) script: Script,
    /// What its forms work with.
    pub(super) form_script: Script,
}

impl ServedSite {
    /// Makes what answers need.
    pub fn new(site: Site) -> Self {
        Self {
            cookies: CookieMaker::new(&site),
            cors: Cors::new(&site),
            script: Script::new(&site.paths),
            form_script: Script::of_forms(),
            site,
        }
    }
}

impl ServedSite {
    /// What the script of the page that a request comes from may do.
    pub(in crate::web) fn permission(&self, request: &HeaderMap) -> Permission {
        self.cors.permission(request)
    }
}

/// All sites of a server.
pub struct Sites {
    default: ServedSite,
}

impl Sites {
    /// One site, whatever host is requested.
    pub fn one(site: ServedSite) -> Self {
        Self { default: site }
    }

    /// The default site: the server's own, when it says where it is.
    pub(in crate::web) fn default_site(&self) -> &ServedSite {
        &self.default
    }

    /// The site for a request's host. There is one, so nothing has to be looked up.
    fn of(&self, _request: &HeaderMap) -> &ServedSite {
        &self.default
    }
}

impl TrackingState {
    /// The site that a request came to: the one place that decides it. Everything behind takes the
    /// site from here.
    pub(in crate::web) fn site_of(&self, request: &HeaderMap) -> &ServedSite {
        self.sites.of(request)
    }
}

//! The head of a tracking request: everything that is known of it before its body, found out once.

use std::borrow::Cow;
use std::net::IpAddr;

use http::request::Parts;

use super::{TrackingState, client_ip};
use crate::model::clock::Micros;
use crate::model::hit::VisitorId;
use crate::model::site::Site;
use crate::tracking::inbound::Inbound;
use crate::tracking::route::Route;

/// A request without its body.
#[derive(Clone, Debug)]
pub(in crate::web) struct Head<'a> {
    pub(in crate::web) parts: Cow<'a, Parts>,
    pub(in crate::web) route: Route<'a>,
    site: Cow<'a, Site>,
    client: IpAddr,
    is_forwarded: bool,
    is_trusted_sender: bool,
    received_at: Micros,
    new_visitor: VisitorId,
}

impl<'a> Head<'a> {
    /// For a request to a site, from the client at `peer`.
    pub(in crate::web) fn of(
        state: &TrackingState,
        site: &'a Site,
        peer: IpAddr,
        parts: &'a Parts,
        route: Route<'a>,
    ) -> Self {
        let received_at = state.clock.now();
        let client = client_ip::client_ip(peer, &parts.headers, &state.trust.proxies);
        Self {
            client,
            is_forwarded: client != peer.to_canonical(),
            is_trusted_sender: client_ip::is_in(peer.to_canonical(), &state.trust.senders),
            received_at,
            new_visitor: VisitorId(state.clock.new_id(received_at)),
            parts: Cow::Borrowed(parts),
            site: Cow::Borrowed(site),
            route,
        }
    }

    /// An owned copy, for another thread.
    pub(in crate::web) fn into_owned(self) -> Head<'static> {
        Head {
            parts: Cow::Owned(self.parts.into_owned()),
            route: self.route.into_owned(),
            site: Cow::Owned(self.site.into_owned()),
            client: self.client,
            is_forwarded: self.is_forwarded,
            is_trusted_sender: self.is_trusted_sender,
            received_at: self.received_at,
            new_visitor: self.new_visitor,
        }
    }

    /// The request as dialects see it, without a body: the one place that builds it.
    pub(in crate::web) fn inbound(&self) -> Inbound<'_> {
        let Parts {
            method,
            uri,
            headers,
            ..
        } = &*self.parts;
        Inbound {
            site: &self.site,
            method,
            target: uri.path_and_query().map_or("/", |target| target.as_str()),
            rest: &self.route.rest,
            query: &self.route.query,
            is_repaired: self.route.is_repaired,
            headers,
            body: &[],
            client: self.client,
            is_forwarded: self.is_forwarded,
            is_trusted_sender: self.is_trusted_sender,
            received_at: self.received_at,
            new_visitor: self.new_visitor,
        }
    }
}

//! Routes that say what they need: there is no way to add one without.
//!
//! What is needed is looked at before everything that surrounds a route, whatever is put around it:
//! an answer that is kept for a repeated request is for those who may make the request.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use http::Method;

use crate::model::access::Need;
use crate::web::AdminState;

/// A route, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, …
    pub method: Method,
    /// Below `/api/v1`, with `{…}` for what varies.
    pub path: &'static str,
    /// Who may call it.
    pub need: Need,
}

/// Routes of the API.
#[derive(Default)]
pub struct Routes {
    router: Router<Arc<AdminState>>,
    all: Vec<Route>,
}

macro_rules! method {
    ($name:ident, $method:ident) => {
        #[doc = concat!("A route for `", stringify!($method), "`.")]
        #[must_use]
        pub fn $name<H, T>(mut self, path: &'static str, need: Need, handler: H) -> Self
        where
            H: Handler<T, Arc<AdminState>>,
            T: 'static,
        {
            let route = on(MethodFilter::$method, handler);
            self.router = self.router.route(path, route);
            let method = Method::$method;
            self.all.push(Route { method, path, need });
            self
        }
    };
}

impl Routes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    method!(get, GET);
    method!(post, POST);
    method!(put, PUT);
    method!(patch, PATCH);
    method!(delete, DELETE);

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.all.extend(others.all);
        self
    }

    /// These with something around each: `|router| router.route_layer(…)`.
    #[must_use]
    pub fn within(
        mut self,
        surround: impl FnOnce(Router<Arc<AdminState>>) -> Router<Arc<AdminState>>,
    ) -> Self {
        self.router = surround(self.router);
        self
    }

    /// The router, and what its routes need.
    pub fn split(self) -> (Router<Arc<AdminState>>, Needs) {
        let mut needs = Needs::default();
        for route in self.all {
            needs
                .0
                .entry(route.path)
                .or_default()
                .push((route.method, route.need));
        }
        (self.router, needs)
    }

    /// All of them.
    pub fn into_list(self) -> Vec<Route> {
        self.all
    }
}

/// What each route needs, by its path.
#[derive(Clone, Debug, Default)]
pub struct Needs(HashMap<&'static str, Vec<(Method, Need)>>);

impl Needs {
    /// What a request to a route's path needs; `None` where the path does not take its method. A
    /// path that is not listed is nobody's but the admin's.
    pub fn of(&self, path: &str, method: &Method) -> Option<Need> {
        let Some(methods) = self.0.get(path) else {
            return Some(Need::Admin);
        };
        // Whoever may read may ask for the head.
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let mut methods = methods.iter();
        methods
            .find(|(known, _)| known == method)
            .map(|(_, need)| *need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::Scope;

    #[test]
    fn a_path_that_is_not_listed_is_the_admins() {
        const READ: Need = Need::Any(&[Scope::HitsRead]);
        let handler = async || "";
        let others = Routes::new().post("/b", Need::Admin, handler);
        let (_, needs) = Routes::new().get("/a", READ, handler).and(others).split();
        assert_eq!(needs.of("/a", &Method::GET), Some(READ));
        assert_eq!(needs.of("/a", &Method::HEAD), Some(READ));
        assert_eq!(needs.of("/a", &Method::POST), None);
        assert_eq!(needs.of("/b", &Method::POST), Some(Need::Admin));
        assert_eq!(needs.of("/c", &Method::GET), Some(Need::Admin));
    }
}

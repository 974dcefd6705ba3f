//! Routes that say what they need and what they are: there is no way to add one without the first,
//! and a test asks for the second.
//!
//! What is needed is looked at before everything that surrounds a route, whatever is put around it:
//! an answer that is kept for a repeated request is for those who may make the request.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use http::Method;
use utoipa::openapi::path::{PathItem, Paths};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{OpenApi, OpenApiBuilder, RefOr};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::model::access::Need;
use crate::web::AdminState;

/// A route, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, …
    pub method: Method,
    /// Below `/api/v1`, with `{…}` for what varies.
    pub path: String,
    /// Who may call it.
    pub need: Need,
}

/// Schemas by their names.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// Routes of the API.
#[derive(Default)]
pub struct Routes {
    router: Router<Arc<AdminState>>,
    all: Vec<Route>,
    paths: Paths,
    schemas: Schemas,
}

impl Routes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handler with its method, its path and its description, all of them from its
    /// `#[utoipa::path(…)]`: `.add(READ_LINKS, routes!(links::list::list_links))`. Each handler by
    /// itself, as each has a need of its own.
    #[must_use]
    pub fn add(mut self, need: Need, of: UtoipaMethodRouter<Arc<AdminState>>) -> Self {
        let (schemas, paths, handlers) = of;
        for (path, item) in paths.paths {
            self.router = self.router.route(&path, handlers.clone());
            let methods = methods(&item).into_iter().map(|method| Route {
                method,
                path: path.clone(),
                need,
            });
            self.all.extend(methods);
            match self.paths.paths.get_mut(&path) {
                Some(known) => known.merge_operations(item),
                None => {
                    self.paths.paths.insert(path, item);
                }
            }
        }
        self.schemas.extend(schemas);
        self
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.all.extend(others.all);
        self.paths.merge(others.paths);
        self.schemas.extend(others.schemas);
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

    /// What they are, what they need, and the schemas that they speak of.
    pub fn describe(self) -> (OpenApi, Vec<Route>, Schemas) {
        let document = OpenApiBuilder::new().paths(self.paths).build();
        (document, self.all, self.schemas)
    }
}

fn methods(item: &PathItem) -> Vec<Method> {
    let all = [
        (&item.get, Method::GET),
        (&item.post, Method::POST),
        (&item.put, Method::PUT),
        (&item.patch, Method::PATCH),
        (&item.delete, Method::DELETE),
    ];
    let there = all.into_iter().filter(|(operation, _)| operation.is_some());
    there.map(|(_, method)| method).collect()
}

/// What each route needs, by its path.
#[derive(Clone, Debug, Default)]
pub struct Needs(HashMap<String, Vec<(Method, Need)>>);

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
    use utoipa_axum::routes;

    use super::*;
    use crate::model::access::Scope;

    #[utoipa::path(get, path = "/a")]
    async fn read() {}
    #[utoipa::path(post, path = "/b")]
    async fn write() {}

    #[test]
    fn a_path_that_is_not_listed_is_the_admins() {
        const READ: Need = Need::Any(&[Scope::HitsRead]);
        let others = Routes::new().add(Need::Admin, routes!(write));
        let (_, needs) = Routes::new().add(READ, routes!(read)).and(others).split();
        assert_eq!(needs.of("/a", &Method::GET), Some(READ));
        assert_eq!(needs.of("/a", &Method::HEAD), Some(READ));
        assert_eq!(needs.of("/a", &Method::POST), None);
        assert_eq!(needs.of("/b", &Method::POST), Some(Need::Admin));
        assert_eq!(needs.of("/c", &Method::GET), Some(Need::Admin));
    }
}

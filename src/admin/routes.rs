//! Every endpoint: its method, its path, who may ask, and what it does. The server, the description that it serves and the tests
//! read this one table.

use hyper::{Method, StatusCode};

use super::answer::Failure;
use super::tokens::Role;

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Dashboard,
    Asset,
    Healthcheck,
    Metrics,
    Stats,
    Status,
    Services,
    Service,
    Backends,
    Backend,
    AddBackend,
    ChangeBackend,
    RemoveBackend,
    Connections,
    EndConnection,
    History,
    Events,
    Description,
    Reload,
    Upgrade,
    Replicas,
    AddReplicas,
    RemoveReplicas,
}

/// An endpoint.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// Parts in braces are parameters.
    pub(super) path: &'static str,
    /// Who may ask.
    pub(super) role: Role,
    pub(super) action: Action,
    /// What it is, in a few words.
    pub(super) summary: &'static str,
}

const fn route(method: Method, path: &'static str, role: Role, action: Action, summary: &'static str) -> Route {
    Route {
        method,
        path,
        role,
        action,
        summary,
    }
}

/// All endpoints.
pub(super) static ROUTES: [Route; 23] = [
    route(Method::GET, "/", Role::Nobody, Action::Dashboard, "The dashboard"),
    route(
        Method::GET,
        "/assets/{name}",
        Role::Nobody,
        Action::Asset,
        "A file of the dashboard",
    ),
    route(
        Method::GET,
        "/healthcheck",
        Role::Nobody,
        Action::Healthcheck,
        "Whether connections are taken and every service has a backend",
    ),
    route(Method::GET, "/metrics", Role::Read, Action::Metrics, "Prometheus text"),
    route(
        Method::GET,
        "/stats",
        Role::Read,
        Action::Stats,
        "The backends of all services in one flat list",
    ),
    route(
        Method::GET,
        "/api/v1/status",
        Role::Read,
        Action::Status,
        "The process and everything in it",
    ),
    route(
        Method::GET,
        "/api/v1/services",
        Role::Read,
        Action::Services,
        "All services",
    ),
    route(
        Method::GET,
        "/api/v1/services/{service}",
        Role::Read,
        Action::Service,
        "A service",
    ),
    route(
        Method::GET,
        "/api/v1/services/{service}/backends",
        Role::Read,
        Action::Backends,
        "The backends of a service",
    ),
    route(
        Method::POST,
        "/api/v1/services/{service}/backends",
        Role::Operate,
        Action::AddBackend,
        "Adds a backend, which takes connections at once",
    ),
    route(
        Method::GET,
        "/api/v1/services/{service}/backends/{backend}",
        Role::Read,
        Action::Backend,
        "A backend",
    ),
    route(
        Method::PATCH,
        "/api/v1/services/{service}/backends/{backend}",
        Role::Operate,
        Action::ChangeBackend,
        "Changes the weight or the state of a backend",
    ),
    route(
        Method::DELETE,
        "/api/v1/services/{service}/backends/{backend}",
        Role::Operate,
        Action::RemoveBackend,
        "Removes a backend: no new connections, and the old ones may finish within the drain time",
    ),
    route(
        Method::GET,
        "/api/v1/connections",
        Role::Read,
        Action::Connections,
        "Live connections",
    ),
    route(
        Method::DELETE,
        "/api/v1/connections/{connection}",
        Role::Operate,
        Action::EndConnection,
        "Ends a live connection",
    ),
    route(
        Method::GET,
        "/api/v1/history",
        Role::Read,
        Action::History,
        "Samples of the last half hour",
    ),
    route(
        Method::GET,
        "/api/v1/events",
        Role::Read,
        Action::Events,
        "Server-sent events: sample (each two seconds), backend (a state changed), config",
    ),
    route(
        Method::POST,
        "/api/v1/reload",
        Role::Operate,
        Action::Reload,
        "Reads lb.toml again, and puts in force what changed",
    ),
    route(
        Method::POST,
        "/api/v1/upgrade",
        Role::Operate,
        Action::Upgrade,
        "Starts the program anew, which takes over without losing a connection; answered when it serves",
    ),
    route(
        Method::GET,
        "/api/v1/openapi.json",
        Role::Read,
        Action::Description,
        "This description",
    ),
    route(
        Method::GET,
        "/rep",
        Role::Read,
        Action::Replicas,
        "The replicas that a service is to have: of the first one that lb keeps alive, if none is named",
    ),
    route(
        Method::POST,
        "/add",
        Role::Operate,
        Action::AddReplicas,
        "So many replicas more",
    ),
    route(
        Method::DELETE,
        "/rm",
        Role::Operate,
        Action::RemoveReplicas,
        "So many replicas less: no new connections, and they end when the old ones have, or their drain time is over",
    ),
];

/// An endpoint that was asked for, with the parameters of its path in their order.
#[derive(Debug)]
pub(super) struct Asked<'p> {
    pub(super) route: &'static Route,
    pub(super) parameters: Vec<&'p str>,
}

impl<'p> Asked<'p> {
    /// A parameter of the path; empty where there are fewer.
    pub(super) fn parameter(&self, place: usize) -> &'p str {
        self.parameters.get(place).copied().unwrap_or("")
    }
}

/// Whose method and path these are. HEAD is GET without the body, which the server leaves away.
///
/// # Errors
/// There is no such path, or it has other methods.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Result<Asked<'p>, Failure> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let of_path: Vec<(&'static Route, Vec<&str>)> = ROUTES
        .iter()
        .filter_map(|route| Some((route, parameters(route.path, path)?)))
        .collect();
    if of_path.is_empty() {
        let message = format!(
            "there is nothing at {}; /api/v1/openapi.json tells what there is",
            path.escape_debug()
        );
        return Err(Failure::new(StatusCode::NOT_FOUND, "unknown_path", message));
    }
    let methods: Vec<&str> = of_path.iter().map(|(route, _)| route.method.as_str()).collect();
    let methods = methods.join(", ");
    let found = of_path.into_iter().find(|(route, _)| route.method == method);
    found
        .map(|(route, parameters)| Asked { route, parameters })
        .ok_or_else(|| {
            let message = format!("{method} isn't possible there; {methods} is");
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).allow(&methods)
        })
}

/// The parameters of a path that has this form. Names need no percent encoding: what is encoded is no name.
fn parameters<'p>(form: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut parameters = Vec::new();
    let (mut wanted, mut found) = (form.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(parameters),
            (Some(wanted), Some(found)) if wanted.starts_with('{') && !found.is_empty() => parameters.push(found),
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Result<(Action, Vec<String>), u16> {
        find(&method, path)
            .map(|asked| {
                (
                    asked.route.action,
                    asked.parameters.iter().map(ToString::to_string).collect(),
                )
            })
            .map_err(|failure| failure.status().as_u16())
    }

    #[test]
    fn a_path_finds_its_endpoint_and_its_parameters() {
        assert_eq!(found(Method::GET, "/"), Ok((Action::Dashboard, vec![])));
        assert_eq!(found(Method::HEAD, "/metrics"), Ok((Action::Metrics, vec![])));
        assert_eq!(
            found(Method::PATCH, "/api/v1/services/echo/backends/a.1"),
            Ok((Action::ChangeBackend, vec!["echo".to_owned(), "a.1".to_owned()]))
        );
    }

    #[test]
    fn what_is_not_there_is_404_and_the_wrong_method_405() {
        for path in [
            "/x",
            "//",
            "/api/v1/services/",
            "/api/v1/services//backends",
            "/metrics/",
            "/assets/a/b",
            "",
            "*",
        ] {
            assert_eq!(found(Method::GET, path), Err(404), "{path}");
        }
        assert_eq!(found(Method::POST, "/metrics"), Err(405));
        assert_eq!(found(Method::PUT, "/api/v1/services/echo/backends"), Err(405));
    }

    #[test]
    fn what_changes_something_takes_an_operator() {
        for route in &ROUTES {
            assert_eq!(
                route.method != Method::GET,
                route.role == Role::Operate,
                "{}",
                route.path
            );
        }
    }
}

//! Routing: which rule of which route a request matches, and how the rule changes it.
//!
//! A [`Table`] is compiled from the routes of one listener and asked for each request. It answers with the rule that has precedence
//! by the Gateway API, without allocating. [`location`] and [`replace_path`] compute what a rule changes, [`WeightedRoundRobin`] spreads its
//! requests over services by weight, and [`RateLimit`] limits their rate.
//!
//! Nothing here knows a socket, a clock or a service: the same request to the same table always has the same answer.
//!
//! ```
//! use model::resource::Resource;
//! use route::{RequestLine, RouteEntry, Table};
//!
//! let written = serde_json::json!({
//!     "apiVersion": "homeostat/v1", "kind": "Route", "metadata": {"name": "web"},
//!     "spec": {"listen": "127.0.0.1:8080", "rules": [
//!         {"backendRefs": [{"name": "pages"}]},
//!         {"matches": [{"path": {"value": "/api"}}], "backendRefs": [{"name": "api"}]},
//!     ]},
//! });
//! let Ok(Resource::Route(web)) = serde_json::from_value(written) else { panic!("a route") };
//! let table = Table::compile(&[RouteEntry { name: "web", created: 1, spec: &web.spec }]).unwrap();
//!
//! let found = table.lookup(&RequestLine { host: "localhost:8080", method: "GET", path: "/api/carts", query: "" });
//! assert_eq!(found.unwrap().rule, 1);
//! ```

mod head;
mod path;
mod table;

mod change;
mod rate_limit;
mod weighted;

pub use change::{RequestTarget, has_dot_segments, location, replace_path};
pub use head::{Head, RequestLine};
pub use rate_limit::{Decision, RateLimit};
pub use table::{CompileError, RouteEntry, RuleMatch, Table};
pub use weighted::{Sampler, WeightedRoundRobin};

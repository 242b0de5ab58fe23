//! Routing: which rule of which route a request matches, and how the rule changes it.
//!
//! A [`Table`] is compiled from the routes of one listener. Its lookup returns the rule that has precedence by the Gateway API, and usually
//! does not allocate. [`replace_path`] and [`location`] implement rewrites and redirects, [`WeightedRoundRobin`] spreads the requests of a rule
//! over services by weight, and [`RateLimit`] limits their rate.
//!
//! Nothing here uses a socket, a clock or a service: the same request to the same table always has the same result.
//!
//! ```
//! use model::resource::Resource;
//! use route::{RequestLine, RouteEntry, Table};
//!
//! let manifest = serde_json::json!({
//!     "apiVersion": "homeostat/v1", "kind": "Route", "metadata": {"name": "web"},
//!     "spec": {"listen": "127.0.0.1:8080", "rules": [
//!         {"backendRefs": [{"name": "pages"}]},
//!         {"matches": [{"path": {"value": "/api"}}], "backendRefs": [{"name": "api"}]},
//!     ]},
//! });
//! let Ok(Resource::Route(web)) = serde_json::from_value(manifest) else { panic!("a route") };
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

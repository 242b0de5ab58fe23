//! Which rule of which route a request is for, and what becomes of it.
//!
//! A [`Table`] is compiled from the routes of one listener and asked for each request. It answers with the rule that has precedence
//! by the Gateway API, without allocating. [`location`] and [`replaced`] compute what a rule changes, [`Shares`] spreads its
//! requests over services by weight, and [`Pace`] limits their rate.
//!
//! Nothing here knows a socket, a clock or a service: the same request to the same table always has the same answer.
//!
//! ```
//! use model::resource::Resource;
//! use route::{Line, Member, Table};
//!
//! let written = serde_json::json!({
//!     "apiVersion": "homeostat/v1", "kind": "Route", "metadata": {"name": "web"},
//!     "spec": {"listen": "127.0.0.1:8080", "rules": [
//!         {"backendRefs": [{"name": "pages"}]},
//!         {"matches": [{"path": {"value": "/api"}}], "backendRefs": [{"name": "api"}]},
//!     ]},
//! });
//! let Ok(Resource::Route(web)) = serde_json::from_value(written) else { panic!("a route") };
//! let table = Table::compile(&[Member { name: "web", created: 1, spec: &web.spec }]).unwrap();
//!
//! let found = table.lookup(&Line { host: "localhost:8080", method: "GET", path: "/api/carts", query: "" });
//! assert_eq!(found.unwrap().rule, 1);
//! ```

mod head;
mod path;
mod table;

mod change;
mod pace;
mod share;

pub use change::{Asked, climbs, location, replaced};
pub use head::{Head, Line};
pub use pace::{Pace, Verdict};
pub use share::{Portion, Shares};
pub use table::{CompileError, Found, Member, Table};

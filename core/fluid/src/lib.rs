//! What a scaling policy would have done: a service as a fluid, tick by tick, over recorded load.
//!
//! A [`Run`] takes the load of one tick after the other, lets its [`Policy`] choose the number of replicas, starts and stops them, and
//! serves the load from a queue. Its [`Score`] has the SLO violations, the cost, and the elasticity metrics of the literature.
//! [`ticks::Ticks`] turns the rows of a trace into ticks. Everything streams: memory does not grow with the trace.
//!
//! The model is fluid and, unless a [`World`](world::World) disturbs it, deterministic: within a tick requests arrive evenly, and all
//! replicas have the same capacity. It reads neither a clock nor files, and no policy sees the load of a tick before that tick is over,
//! unless it declares [`Policy::foresight`].
//!
//! ```
//! use fluid::policy::{hpa, oracle::Oracle};
//! use fluid::{Capacity, Run, Service, world::World};
//! use model::time::Wall;
//!
//! let service = Service::with_capacity(Capacity::per_second(50.0)?);
//! let mut scaled = Run::new(&service, hpa::by_requests(&service), World::calm(), Wall::default());
//! let mut oracle = Run::new(&service, Oracle::exact(&service), World::calm(), Wall::default());
//! for tick in 0..5760 {
//!     let load = if tick % 240 < 60 { 900.0 } else { 120.0 };
//!     scaled.offer(load);
//!     oracle.offer(load);
//! }
//! let (scaled, oracle) = (scaled.finish().score, oracle.finish().score);
//! assert!(scaled.violation_minutes() > 0.0 && oracle.violation_minutes() == 0.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod service;

pub mod ticks;

pub mod policy;

pub mod draws;
mod fleet;
mod run;
pub mod world;

mod score;
pub mod timeline;

pub mod window;

pub use fleet::{Fleet, Replica};
pub use policy::{Policy, PolicyInput, TickResult};
pub use run::{Outcome, Run};
pub use score::{Elasticity, Score};
pub use service::{Capacity, OutOfRange, Service, Share, capacity_for, quantile};

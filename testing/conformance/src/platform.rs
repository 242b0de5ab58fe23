//! The conformance suite of a [`Platform`] that runs real programs: the guarantees of the contract, one case each.
//!
//! Each replica is a line of `/bin/sh`. None runs for longer than a minute, so that a panic leaves no process for long.

mod resources;
mod starts;
mod stops;
mod survival;
mod world;

use std::path::Path;
use std::sync::Arc;

use ::platform::Platform;
use futures_util::future::BoxFuture;

use world::World;

/// Opens and closes drivers over the same persistent state.
pub trait PlatformHome: Send + Sync {
    /// Opens the driver. The previous one is already closed; the replicas that it started still run.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Platform>>;

    /// Closes the driver and leaves all replicas running.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// An initially empty folder where replicas may write.
    fn folder(&self) -> &Path;
}

/// The test of one guarantee on a new and empty platform.
type Case = fn(&mut World) -> BoxFuture<'_, ()>;

/// Tests that the platforms of `new_home` keep the contract; panics if they break a guarantee.
///
/// Each case gets a home of its own, and all its replicas are killed at its end.
pub async fn suite(new_home: &dyn Fn() -> Box<dyn PlatformHome>) {
    for (name, case) in [starts::CASES, stops::CASES, survival::CASES, resources::CASES].into_iter().flatten()
    {
        eprintln!("case {name}");
        let mut world = World::new(new_home()).await;
        case(&mut world).await;
        world.end().await;
    }
}

/// Lists cases with their names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(super) const CASES: &[(&str, super::Case)] = &[
            $((stringify!($case), |world| ::futures_util::FutureExt::boxed($case(world)))),*
        ];
    };
}
use cases;

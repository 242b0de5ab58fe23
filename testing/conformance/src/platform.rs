//! The suite that every [`Platform`] passes that runs real programs: the guarantees of the contract, one case each.
//!
//! Each replica is a line of `/bin/sh`. None runs for longer than a minute, so that a case that panics leaves nothing behind
//! for long.

mod allotments;
mod beginnings;
mod endings;
mod survival;
mod world;

use std::path::Path;
use std::sync::Arc;

use ::platform::Platform;
use futures_util::future::BoxFuture;

use world::World;

/// A place where a driver runs, and runs again after it was closed.
pub trait PlatformHome: Send + Sync {
    /// Opens the driver. The previous one is already closed; the replicas that it started still run.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Platform>>;

    /// Closes the driver and leaves all replicas running.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// An empty folder where replicas may write.
    fn folder(&self) -> &Path;
}

/// One guarantee, shown on a new and empty platform.
type Case = fn(&mut World) -> BoxFuture<'_, ()>;

/// Shows that the platforms of `new_home` keep the contract; panics with the guarantee that one breaks.
///
/// Each case gets a home of its own, and all its replicas are killed when it is over.
pub async fn suite(new_home: &dyn Fn() -> Box<dyn PlatformHome>) {
    for (name, case) in
        [beginnings::CASES, endings::CASES, survival::CASES, allotments::CASES].into_iter().flatten()
    {
        eprintln!("case {name}");
        let mut world = World::new(new_home()).await;
        case(&mut world).await;
        world.end().await;
    }
}

/// Lists cases under their own names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(super) const CASES: &[(&str, super::Case)] = &[
            $((stringify!($case), |world| ::futures_util::FutureExt::boxed($case(world)))),*
        ];
    };
}
use cases;

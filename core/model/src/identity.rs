//! Identities of replicas, declarations, runs and actions.

use std::fmt;

use crate::name::ServiceName;

/// Makes a newtype over a whole number that only counts or orders.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// The place of a replica within its service: 0, 1, 2 …. A replacement takes the place of the replica that it replaces.
    Ordinal(u32)
}
number! {
    /// Counts the replicas that have filled a place: grows with each start, so that an earlier replica is never mistaken for a later one.
    Incarnation(u32)
}
number! {
    /// Grows with each change of intent. 0 is before the first.
    Generation(u64)
}
number! {
    /// Grows with each start of an orchestrator; an action with an older one is refused (a fencing token, Kleppmann 2016).
    Epoch(u64)
}

/// A replica by its service and place: `shop-3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId {
    /// Its service.
    pub service: ServiceName,
    /// Its place within the service.
    pub ordinal: Ordinal,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.ordinal)
    }
}

impl ReplicaId {
    /// Parses the output of `Display`; `None` when the text is not the name of a replica.
    pub fn parse(text: &str) -> Option<Self> {
        let (service, ordinal) = text.rsplit_once('-')?;
        Some(Self { service: ServiceName::parse(service).ok()?, ordinal: Ordinal(ordinal.parse().ok()?) })
    }
}

/// The idempotency key of an action: sending it again has no further effect.
///
/// Ordered by epoch, then by the order in which the loop of that epoch emitted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId {
    /// The epoch of the loop that emitted the action.
    pub epoch: Epoch,
    /// 1, 2, 3 … within the epoch.
    pub sequence: u64,
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

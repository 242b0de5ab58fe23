//! The replicas of the model: those that are ready, and those that are starting.

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replica {
    /// The tick in which it was started.
    pub started: u64,
    /// The first tick in which it serves.
    pub ready: u64,
    /// Its capacity, as a part of that of a usual replica.
    pub speed: f64,
    /// Whether its start fails: it ends in the tick in which it should be ready.
    pub is_doomed: bool,
}

/// The replicas of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    ready: Vec<Replica>,
    /// In the order of their starts.
    starting: Vec<Replica>,
    /// The sum over the ready ones; of whole numbers it is exact.
    speed: f64,
    /// How often replicas came, went or became ready.
    changes: u64,
}

impl Fleet {
    /// These replicas, all of them ready.
    pub(crate) fn of_ready(replicas: impl IntoIterator<Item = Replica>) -> Self {
        let mut fleet = Self { ready: replicas.into_iter().collect(), ..Self::default() };
        fleet.weigh();
        fleet
    }

    /// Replicas that serve.
    pub fn ready(&self) -> u32 {
        count(&self.ready)
    }

    /// Replicas that do not serve yet.
    pub fn starting(&self) -> u32 {
        count(&self.starting)
    }

    /// Replicas that are paid for: ready or starting.
    pub fn total(&self) -> u32 {
        self.ready().saturating_add(self.starting())
    }

    /// What the ready ones carry together, in capacities of one usual replica.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// A number that changes whenever replicas come, go or become ready.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The ready ones, the longest there first; then the starting ones, the first started first.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.ready.iter().chain(&self.starting)
    }

    /// Lets those serve whose start has ended by `tick`; failed starts are gone.
    pub(crate) fn mature(&mut self, tick: u64) {
        if self.starting.iter().all(|replica| replica.ready > tick) {
            return;
        }
        let begun = self.starting.extract_if(.., |replica| replica.ready <= tick);
        self.ready.extend(begun.filter(|replica| !replica.is_doomed));
        self.weigh();
        self.changes += 1;
    }

    /// Adds replicas that are starting.
    pub(crate) fn start(&mut self, replicas: impl IntoIterator<Item = Replica>) {
        self.starting.extend(replicas);
        self.changes += 1;
    }

    /// Takes `excess` replicas away: first the latest started, then ready ones, the latest first.
    pub(crate) fn stop(&mut self, excess: u32) {
        let excess = excess as usize;
        let unborn = excess.min(self.starting.len());
        self.starting.truncate(self.starting.len() - unborn);
        self.lose_ready(excess - unborn);
        self.changes += 1;
    }

    /// Takes `lost` ready replicas away, the latest first.
    pub(crate) fn lose_ready(&mut self, lost: usize) {
        if lost > 0 {
            self.ready.truncate(self.ready.len().saturating_sub(lost));
            self.weigh();
            self.changes += 1;
        }
    }

    fn weigh(&mut self) {
        self.speed = self.ready.iter().map(|replica| replica.speed).sum();
    }
}

fn count(replicas: &[Replica]) -> u32 {
    u32::try_from(replicas.len()).unwrap_or(u32::MAX)
}

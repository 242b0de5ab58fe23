//! The ready and the starting replicas of the model.

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replica {
    /// The tick in which it was started.
    pub started: u64,
    /// The first tick in which it serves.
    pub ready: u64,
    /// Its capacity ÷ that of a nominal replica.
    pub speed: f64,
    /// Whether its start fails, in the tick in which it should be ready.
    pub start_fails: bool,
}

/// The replicas of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    ready: Vec<Replica>,
    /// In the order of their starts.
    starting: Vec<Replica>,
    /// Σ speed over the ready ones.
    speed: f64,
    /// Incremented whenever replicas are started or removed, or become ready.
    changes: u64,
}

impl Fleet {
    /// A fleet of ready replicas.
    pub(crate) fn of_ready(replicas: impl IntoIterator<Item = Replica>) -> Self {
        let mut fleet = Self { ready: replicas.into_iter().collect(), ..Self::default() };
        fleet.sum_speed();
        fleet
    }

    /// The number of replicas that serve.
    pub fn ready(&self) -> u32 {
        count(&self.ready)
    }

    /// The number of replicas that do not serve yet.
    pub fn starting(&self) -> u32 {
        count(&self.starting)
    }

    /// The number of replicas that are billed: ready or starting.
    pub fn total(&self) -> u32 {
        self.ready().saturating_add(self.starting())
    }

    /// The capacity of all ready replicas ÷ that of a nominal replica.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// A counter that changes whenever replicas are started or removed, or become ready.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The ready replicas, then the starting ones; each in order of age, oldest first.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.ready.iter().chain(&self.starting)
    }

    /// Moves replicas whose start has ended by `tick` to the ready ones, and removes those whose start failed.
    pub(crate) fn finish_starts(&mut self, tick: u64) {
        if self.starting.iter().all(|replica| replica.ready > tick) {
            return;
        }
        let finished = self.starting.extract_if(.., |replica| replica.ready <= tick);
        self.ready.extend(finished.filter(|replica| !replica.start_fails));
        self.sum_speed();
        self.changes += 1;
    }

    /// Adds replicas that are starting.
    pub(crate) fn start(&mut self, replicas: impl IntoIterator<Item = Replica>) {
        self.starting.extend(replicas);
        self.changes += 1;
    }

    /// Stops `excess` replicas: starting ones first, then ready ones; the youngest first.
    pub(crate) fn stop(&mut self, excess: u32) {
        let excess = excess as usize;
        let starting = excess.min(self.starting.len());
        self.starting.truncate(self.starting.len() - starting);
        self.remove_ready(excess - starting);
        self.changes += 1;
    }

    /// Removes `count` ready replicas, the youngest first.
    pub(crate) fn remove_ready(&mut self, count: usize) {
        if count > 0 {
            self.ready.truncate(self.ready.len().saturating_sub(count));
            self.sum_speed();
            self.changes += 1;
        }
    }

    fn sum_speed(&mut self) {
        self.speed = self.ready.iter().map(|replica| replica.speed).sum();
    }
}

fn count(replicas: &[Replica]) -> u32 {
    u32::try_from(replicas.len()).unwrap_or(u32::MAX)
}

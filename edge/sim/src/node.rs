//! The node: its platform, its agent and its proxy, which keep the contract of real ones.
//!
//! Each action id is applied at most once; an older epoch is refused; for the traffic of one replica, or for one listener, the
//! action with the latest id counts; a stop ends when its replica is gone.

mod actions;
mod life_events;
mod report;

use std::collections::BTreeMap;

use model::action::Outcome;
use model::identity::{ActionId, Epoch, Ordinal, ReplicaId};
use model::input::{Observed, Report};
use model::name::{NodeName, ServiceName};

use crate::environment::{Environment, LifeKey};
use crate::gauge::Gauge;
use crate::life::Life;
use crate::site::Site;
use report::MetricsOutage;

/// The node and everything on it, as it truly is.
#[derive(Debug)]
pub struct Node {
    name: NodeName,
    sites: Vec<Site>,
    gauges: Vec<Gauge>,
    epoch: Epoch,
    up_to: ActionId,
    done: BTreeMap<ActionId, Outcome>,
    lives_begun: u64,
    ticks: u64,
    blind: Option<MetricsOutage>,
}

impl Node {
    pub(crate) fn new(name: NodeName) -> Self {
        Self {
            name,
            sites: Vec::new(),
            gauges: Vec::new(),
            epoch: Epoch(0),
            up_to: ActionId::default(),
            done: BTreeMap::new(),
            lives_begun: 0,
            ticks: 0,
            blind: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The largest epoch that it has learned of.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Every service that has ever been here, in the order in which they came.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// One service.
    pub fn site(&self, service: &ServiceName) -> Option<&Site> {
        self.sites.iter().find(|site| site.name == *service)
    }

    /// The latest life of a place.
    pub fn life(&self, replica: &ReplicaId) -> Option<&Life> {
        self.site(&replica.service)?.lives.get(replica.ordinal.0 as usize)?.as_ref()
    }

    pub(crate) fn site_mut(&mut self, service: &ServiceName) -> &mut Site {
        let index = self.site_index(service);
        &mut self.sites[index]
    }

    pub(crate) fn add_gauge(&mut self, gauge: Gauge) {
        self.gauges.push(gauge);
    }

    fn site_index(&mut self, service: &ServiceName) -> usize {
        if let Some(index) = self.sites.iter().position(|site| site.name == *service) {
            return index;
        }
        self.sites.push(Site::new(service.clone()));
        self.sites.len() - 1
    }

    /// The keys of all lives that run, by service and place.
    pub(crate) fn keys(&self) -> Vec<LifeKey> {
        let sites = self.sites.iter().enumerate();
        sites
            .flat_map(|(site, at)| {
                let places = at.lives.iter().enumerate();
                places.filter_map(move |(place, life)| {
                    let life = life.as_ref().filter(|life| life.is_alive())?;
                    Some(LifeKey { site, place, serial: life.serial })
                })
            })
            .collect()
    }

    fn alive_life(&mut self, key: LifeKey) -> Option<&mut Life> {
        let life = self.sites.get_mut(key.site)?.lives.get_mut(key.place)?.as_mut()?;
        (life.serial == key.serial && life.is_alive()).then_some(life)
    }

    fn report_life(&self, environment: &mut Environment, key: LifeKey) {
        let site = &self.sites[key.site];
        if let Some(life) = site.lives.get(key.place).and_then(Option::as_ref) {
            environment.report(Report::Replica(observed(site, ordinal_of(key), life)));
        }
    }
}

fn observed(site: &Site, ordinal: Ordinal, life: &Life) -> Observed {
    Observed {
        replica: ReplicaId { service: site.name.clone(), ordinal },
        incarnation: life.incarnation,
        generation: life.generation,
        state: life.observed(),
    }
}

fn ordinal_of(key: LifeKey) -> Ordinal {
    Ordinal(u32::try_from(key.place).unwrap_or(u32::MAX))
}

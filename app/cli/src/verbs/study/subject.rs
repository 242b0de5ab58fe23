//! The service that is studied: as manifests declare it, or as a server keeps it.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use model::input::Declared;
use model::name::ServiceName;
use model::resource::Resource;

use crate::failure::Failure;
use crate::kept::{all_kept, kept};
use crate::manifests::{self, Warnings};
use crate::target::{OneService, Subject as Kind};
use crate::words::{Desk, wait_for};

/// Which service.
#[derive(Clone, Debug, Args)]
pub(super) struct SubjectWords {
    /// Which, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: OneService,
    /// A manifest that declares it, a folder of them, or - for standard input; may be given several times. Without it, as the server keeps it
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
}

/// A service, and the resources that say how it is scaled.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) resources: Vec<Resource>,
    pub(super) declared: Arc<Declared>,
}

impl SubjectWords {
    pub(super) fn name(&self) -> &ServiceName {
        &self.service.0
    }

    pub(super) fn subject(&self, desk: &Desk) -> Result<Subject, Failure> {
        let resources = if self.file.is_empty() {
            wait_for(self.kept(desk))?
        } else {
            let manifests = manifests::read(&self.file, Warnings::Shown, desk.colours)?;
            manifests.resources().cloned().collect()
        };
        let declared = study::declared(&resources, Some(self.name().as_str())).map_err(Failure::words)?;
        Ok(Subject { resources, declared: Arc::new(declared) })
    }

    async fn kept(&self, desk: &Desk) -> Result<Vec<Resource>, Failure> {
        let client = desk.client()?;
        let service = kept(&client, Kind::Service, self.name().as_str()).await?.ok_or_else(|| {
            let (name, server) = (self.name(), client.server());
            Failure::work(format!(
                "homeostat at {server} has no service/{name}; see `homeostat get services`, or name a manifest with -f"
            ))
        })?;
        let mut resources = all_kept(&client, Kind::Autoscaler).await?;
        resources.insert(0, service);
        Ok(resources)
    }
}

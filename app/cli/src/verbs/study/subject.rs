//! The service that is studied: as manifests declare it, or as a server keeps it.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use model::input::Declared;
use model::name::ServiceName;
use model::resource::Resource;

use super::learned::Learned;
use crate::arguments::{CommandContext, wait_for};
use crate::failure::Failure;
use crate::kept::{all_kept, kept};
use crate::manifests::{self, Warnings};
use crate::target::{ServiceArgument, Subject};

/// Which service.
#[derive(Clone, Debug, Args)]
pub(super) struct SubjectWords {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: ServiceArgument,
    /// A manifest that declares it, a folder of them, or - for standard input; may be given several times. Without it, as the server keeps it
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Use what was learned of the running service instead of declared figures: what a replica carries, and how long it takes to
    /// start
    #[arg(long)]
    learned: bool,
}

/// A service, and the resources that say how it is scaled.
#[derive(Debug)]
pub(super) struct StudiedService {
    pub(super) resources: Vec<Resource>,
    pub(super) declared: Arc<Declared>,
}

impl SubjectWords {
    pub(super) fn name(&self) -> &ServiceName {
        &self.service.0
    }

    pub(super) fn subject(&self, context: &CommandContext) -> Result<StudiedService, Failure> {
        StudiedService::of(context, self.name(), &self.file)
    }

    /// What was learned of it, where that is asked for.
    pub(super) fn learned(&self, context: &CommandContext) -> Result<Option<Learned>, Failure> {
        self.learned.then(|| Learned::of(context, self.name())).transpose()
    }
}

impl StudiedService {
    /// The service `name` as `files` declare it, or without any as the server keeps it.
    pub(super) fn of(
        context: &CommandContext,
        name: &ServiceName,
        files: &[PathBuf],
    ) -> Result<Self, Failure> {
        let resources = if files.is_empty() {
            wait_for(as_kept(context, name))?
        } else {
            let manifests = manifests::read(files, Warnings::Shown, context.colours)?;
            manifests.resources().cloned().collect()
        };
        let declared = study::declared(&resources, Some(name.as_str())).map_err(Failure::usage)?;
        Ok(Self { resources, declared: Arc::new(declared) })
    }
}

async fn as_kept(context: &CommandContext, name: &ServiceName) -> Result<Vec<Resource>, Failure> {
    let client = context.client()?;
    let service = kept(&client, Subject::Service, name.as_str()).await?.ok_or_else(|| {
        let server = client.server();
        Failure::failed(format!(
            "homeostat at {server} has no service/{name}; see `homeostat get services`, or name a manifest with -f"
        ))
    })?;
    let mut resources = all_kept(&client, Subject::Autoscaler).await?;
    resources.insert(0, service);
    Ok(resources)
}

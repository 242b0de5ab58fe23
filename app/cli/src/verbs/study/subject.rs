//! The service to study, as declared in manifests or on a server.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use model::input::Declared;
use model::name::ServiceName;
use model::resource::Resource;

use super::learned::Learned;
use crate::context::{CommandContext, block_on};
use crate::declared;
use crate::failure::Failure;
use crate::manifests::{self, Warnings};
use crate::target::{ServiceArgument, Subject};

/// The service to study.
#[derive(Clone, Debug, Args)]
pub(super) struct SubjectArguments {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: ServiceArgument,
    /// A manifest that declares it, a folder of them, or - for standard input; may be given several times. By default, the declaration on
    /// the server
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Use figures that were learned from the running service: the capacity of a replica and its start-up time
    #[arg(long)]
    learned: bool,
}

/// A service, with the resources that declare it and its autoscaler.
#[derive(Debug)]
pub(super) struct StudiedService {
    pub(super) resources: Vec<Resource>,
    pub(super) declared: Arc<Declared>,
}

impl SubjectArguments {
    pub(super) fn name(&self) -> &ServiceName {
        &self.service.0
    }

    pub(super) fn subject(&self, context: &CommandContext) -> Result<StudiedService, Failure> {
        StudiedService::read(context, self.name(), &self.file)
    }

    /// What was learned about it, with `--learned`.
    pub(super) fn learned(&self, context: &CommandContext) -> Result<Option<Learned>, Failure> {
        self.learned.then(|| Learned::fetch(context, self.name())).transpose()
    }
}

impl StudiedService {
    /// The service `name` as declared in `files`, or on the server without any.
    pub(super) fn read(
        context: &CommandContext,
        name: &ServiceName,
        files: &[PathBuf],
    ) -> Result<Self, Failure> {
        let resources = if files.is_empty() {
            block_on(fetch(context, name))?
        } else {
            let manifests = manifests::read(files, Warnings::Shown, context.colours)?;
            manifests.resources().cloned().collect()
        };
        let declared = study::declared(&resources, Some(name.as_str())).map_err(Failure::usage)?;
        Ok(Self { resources, declared: Arc::new(declared) })
    }
}

async fn fetch(context: &CommandContext, name: &ServiceName) -> Result<Vec<Resource>, Failure> {
    let client = context.client()?;
    let service = declared::fetch(&client, Subject::Service, name.as_str()).await?.ok_or_else(|| {
        let server = client.server();
        Failure::failed(format!(
            "homeostat at {server} has no service/{name}; see `homeostat get services`, or name a manifest with -f"
        ))
    })?;
    let mut resources = declared::fetch_all(&client, Subject::Autoscaler).await?;
    resources.insert(0, service);
    Ok(resources)
}

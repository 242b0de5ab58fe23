//! `simulate`: simulates scaling policies over recorded load.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use model::input::Declared;
use model::resource::Bounds;
use study::Recording;

use super::learned::Learned;
use super::load::LoadArguments;
use super::subject::StudiedService;
use super::world::WorldArguments;
use super::{
    CompareArguments, Comparison, Known, MeasureArguments, POLICIES, ReplicaArguments, ShowArguments,
};
use crate::context::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Warnings};
use crate::target::ServiceArgument;

/// Show what a scaling policy would have done with recorded load, compared with others and with oracles that know the future
///
/// With -f, the policy of the declared service is simulated, by the code that decides in production. For a running SERVICE, learned figures
/// replace those that are not given (the capacity of a replica, its start-up time, and the load), and its policy is the one on the server, or
/// that of -f. Nothing is started and nothing is changed. In each tick of 15 s, the policy sees the previous tick and decides on the number
/// of replicas; they take --start-up to start; load beyond the capacity waits. The SLO is violated while more than half a second of
/// work waits. Of more than two days, the first does not count.
#[derive(Clone, Debug, Args)]
#[command(after_help = POLICIES)]
pub(crate) struct Arguments {
    /// A running service, as service/NAME, simulated with what was learned about it
    #[arg(value_name = "SERVICE")]
    learned: Option<ServiceArgument>,
    /// A manifest with the service or its HorizontalPodAutoscaler, a folder of them, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// The service, if the manifests declare several
    #[arg(long, value_name = "NAME", requires = "file", conflicts_with = "learned")]
    service: Option<String>,
    /// The bounds on the number of replicas, without a manifest; by default, 1..200
    #[arg(long, value_name = "MIN..MAX", value_parser = bounds, conflicts_with_all = ["file", "learned"])]
    replicas: Option<Bounds>,
    #[command(flatten)]
    compare: CompareArguments,
    /// Recorded load: CSV with one `timestamp,value` per line, or - for standard input; may be given several times. By default, the
    /// load of SERVICE
    #[arg(long, value_name = "CSV", required_unless_present = "learned", num_args = 1.., help_heading = "The load")]
    trace: Vec<PathBuf>,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    replica: ReplicaArguments,
    #[command(flatten)]
    world: WorldArguments,
    #[command(flatten)]
    measure: MeasureArguments,
    #[command(flatten)]
    show: ShowArguments,
}

pub(crate) fn run(context: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (comparison, recordings) = arguments.comparison(context)?;
    comparison.run(context, &recordings)?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// The policies and the loads to compare them on.
    pub(super) fn comparison(
        &self,
        context: &CommandContext,
    ) -> Result<(Comparison<'_>, Vec<Recording>), Failure> {
        let declared = self.declared(context)?;
        let learned = self.learned.as_ref().map(|service| Learned::fetch(context, &service.0)).transpose()?;
        let known = Known { declared: declared.as_ref(), bounds: self.replicas, learned: learned.as_ref() };
        let setting = self.replica.setting(known, &self.world, self.measure)?;
        let recordings = self.recordings(learned.as_ref())?;
        let comparison = Comparison {
            candidates: self.compare.candidates(known.declared),
            notes: self.replica.notes(known, setting.capacity),
            setting,
            measure: self.measure.measure(),
            show: &self.show,
        };
        Ok((comparison, recordings))
    }

    /// The service whose policy is simulated; `None` without one.
    fn declared(&self, context: &CommandContext) -> Result<Option<Arc<Declared>>, Failure> {
        if let Some(service) = &self.learned {
            return Ok(Some(StudiedService::read(context, &service.0, &self.file)?.declared));
        }
        if self.file.is_empty() {
            return Ok(None);
        }
        let manifests = manifests::read(&self.file, Warnings::Shown, context.colours)?;
        let declared = study::declared(manifests.resources(), self.service.as_deref());
        Ok(Some(Arc::new(declared.map_err(Failure::usage)?)))
    }

    /// The traces; without any, the load that the server has recorded.
    fn recordings(&self, learned: Option<&Learned>) -> Result<Vec<Recording>, Failure> {
        match learned {
            Some(learned) if self.trace.is_empty() => {
                learned.recording(&self.load).map(|it| vec![it]).map_err(Failure::failed)
            }
            Some(_) | None => self.trace.iter().map(|path| self.load.of_file(path)).collect(),
        }
    }
}

fn bounds(text: &str) -> Result<Bounds, String> {
    let wrong = || format!("{text:?} is not a range; write MIN..MAX, such as 2..20");
    let (min, max) = text.split_once("..").ok_or_else(wrong)?;
    let (min, max) = (min.trim().parse().map_err(|_| wrong())?, max.trim().parse().map_err(|_| wrong())?);
    let is_sound = min <= max && (1..=model::resource::REPLICAS_MAX).contains(&max);
    if is_sound { Ok(Bounds { min, max }) } else { Err(wrong()) }
}

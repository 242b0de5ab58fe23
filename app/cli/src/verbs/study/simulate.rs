//! `simulate`: what a policy would have done over recorded load, beside others.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use model::input::Declared;
use model::resource::Bounds;
use study::Recording;

use super::learned::Learned;
use super::load::LoadWords;
use super::subject::StudiedService;
use super::world::WorldWords;
use super::{CompareWords, Comparison, Known, MeasureWords, POLICIES, ReplicaWords, ShowWords};
use crate::arguments::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Warnings};
use crate::target::ServiceArgument;

/// Show what a scaling policy would have done with recorded load, next to others and to oracles that know the future
///
/// With -f the policy of the declared service is tried, by the code that decides in production. Of a SERVICE that runs, what was learned of it stands
/// for figures that are not given: what a replica carries, how long it takes to start, and its load; its policy is the one that the server keeps, or that of
/// -f. Nothing runs and nothing is changed. Each tick of 15 s the policy sees the one before and says how many replicas there shall be; they take --start-up to start; load that does not fit
/// waits. The promise is broken while more than half a second of work waits. The first day of more than two is not counted.
#[derive(Clone, Debug, Args)]
#[command(after_help = POLICIES)]
pub(crate) struct Arguments {
    /// A running service, as service/NAME: it is simulated by what was learned of it
    #[arg(value_name = "SERVICE")]
    learned: Option<ServiceArgument>,
    /// A manifest with the service or its HorizontalPodAutoscaler, a folder of them, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Which service, when the manifests declare several
    #[arg(long, value_name = "NAME", requires = "file", conflicts_with = "learned")]
    service: Option<String>,
    /// Fewest and most replicas, if no manifest says; without it, 1..200
    #[arg(long, value_name = "MIN..MAX", value_parser = bounds, conflicts_with_all = ["file", "learned"])]
    replicas: Option<Bounds>,
    #[command(flatten)]
    compare: CompareWords,
    /// Recorded load: CSV, one `timestamp,value` a line, or - for standard input; may be given several times. Without it, the
    /// load of SERVICE
    #[arg(long, value_name = "CSV", required_unless_present = "learned", num_args = 1.., help_heading = "The load")]
    trace: Vec<PathBuf>,
    #[command(flatten)]
    load: LoadWords,
    #[command(flatten)]
    replica: ReplicaWords,
    #[command(flatten)]
    world: WorldWords,
    #[command(flatten)]
    measure: MeasureWords,
    #[command(flatten)]
    show: ShowWords,
}

pub(crate) fn run(context: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let declared = arguments.declared(context)?;
    let learned = arguments.learned.as_ref().map(|service| Learned::of(context, &service.0)).transpose()?;
    let known = Known { declared: declared.as_ref(), bounds: arguments.replicas, learned: learned.as_ref() };
    let setting = arguments.replica.setting(known, &arguments.world, arguments.measure)?;
    let recordings = arguments.recordings(learned.as_ref())?;
    let comparison = Comparison {
        candidates: arguments.compare.candidates(known.declared),
        notes: arguments.replica.notes(known, setting.capacity),
        setting,
        measure: arguments.measure.measure(),
        show: &arguments.show,
    };
    comparison.over(context, &recordings)?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// The service whose policy is tried; `None` when none is named.
    fn declared(&self, context: &CommandContext) -> Result<Option<Arc<Declared>>, Failure> {
        if let Some(service) = &self.learned {
            return Ok(Some(StudiedService::of(context, &service.0, &self.file)?.declared));
        }
        if self.file.is_empty() {
            return Ok(None);
        }
        let manifests = manifests::read(&self.file, Warnings::Shown, context.colours)?;
        let declared = study::declared(manifests.resources(), self.service.as_deref());
        Ok(Some(Arc::new(declared.map_err(Failure::usage)?)))
    }

    /// The traces; without any, what the server remembers of the load of the service.
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
    let wrong = || format!("{text:?} are no bounds; write them as MIN..MAX, such as 2..20");
    let (min, max) = text.split_once("..").ok_or_else(wrong)?;
    let (min, max) = (min.trim().parse().map_err(|_| wrong())?, max.trim().parse().map_err(|_| wrong())?);
    let is_sound = min <= max && (1..=model::resource::REPLICAS_MAX).contains(&max);
    if is_sound { Ok(Bounds { min, max }) } else { Err(wrong()) }
}
